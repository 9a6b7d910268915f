from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, WhaleAugment
from fieldmark.models.backbone import stages
from fieldmark.models.network import freeze
from fieldmark.train.features import KeptFeatures, body
from fieldmark.train.loop import Workshop, fit
from fieldmark.train.specs import Leg, Training
from toys import CLASSES, INPUT, NET, alone, lesson, network

ITEMS = np.arange(2 * len(CLASSES))


def n_files(folder: Path) -> int:
    return len([path for path in folder.glob("*.npy") if not path.name.endswith(".done.npy")])


@pytest.mark.parametrize(("augment", "versions"), [(NoAugment(), None), (WhaleAugment(), 3)])
@pytest.mark.parametrize("n_frozen", [1, 3, 99])
def test_kept_features_change_nothing_but_speed(
    photos: list[Path], tmp_path: Path, n_frozen: int, augment: Augment, versions: int | None
) -> None:
    frozen = tuple(list(stages(network().backbone))[:n_frozen])
    training = Training(legs=(Leg(epochs=2, lr=1e-2, freeze=frozen),), batch=8)
    kept = network()
    fit(
        kept,
        lesson(photos, augment=augment, versions=versions),
        training,
        at=Workshop(tmp_path / "kept", alone(), features=tmp_path / "features"),
        seed=5,
    )
    assert n_files(tmp_path / "features") == 1

    plain = network()
    fit(
        plain,
        lesson(photos, augment=augment, versions=versions),
        training,
        at=Workshop(tmp_path / "plain", alone()),
        seed=5,
    )
    for (name, a), b in zip(kept.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name


def test_they_are_read_again_by_another_head_and_not_by_another_network(photos: list[Path], tmp_path: Path) -> None:
    source = PhotoSource(photos, INPUT)
    frozen = tuple(stages(network().backbone))[:2]

    def looked_at(seed: int, net=NET, files: PhotoSource = source) -> None:
        one = network(seed, net)
        freeze(one, frozen)
        _, kept = body(one, files, frozen, items=ITEMS, folder=tmp_path)
        assert isinstance(kept, KeptFeatures)

    looked_at(0)
    assert n_files(tmp_path) == 1
    looked_at(0, NET.model_copy(update={"neck": "none"}))
    assert n_files(tmp_path) == 1
    looked_at(1)
    assert n_files(tmp_path) == 2
    other_size = INPUT.model_copy(update={"width_px": 48})
    looked_at(0, files=PhotoSource(photos, other_size))
    assert n_files(tmp_path) == 3


def test_a_changed_photo_is_looked_at_again(photos: list[Path], tmp_path: Path) -> None:
    copies = [tmp_path / path.name for path in photos]
    for path, copy in zip(photos, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    before = PhotoSource(copies, INPUT).fingerprint()
    copies[3].write_bytes(photos[0].read_bytes() + b"\0")
    assert PhotoSource(copies, INPUT).fingerprint() != before


def test_nothing_is_kept_where_chance_has_a_say_or_nothing_is_frozen(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    source = PhotoSource(photos, INPUT, augment=WhaleAugment())
    assert body(one, source, ("stem",), items=ITEMS, folder=tmp_path)[1] is source
    fixed = PhotoSource(photos, INPUT)
    assert body(one, fixed, (), items=ITEMS, folder=tmp_path)[1] is fixed
    assert body(one, fixed, ("blocks.1",), items=ITEMS, folder=tmp_path)[1] is fixed


def test_mirrored_items_have_features_of_their_own(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    frozen = tuple(stages(one.backbone))[:1]
    freeze(one, frozen)
    source = PhotoSource(photos, INPUT)
    forward, kept = body(one, source, frozen, items=ITEMS, folder=tmp_path)
    one.eval()
    items = torch.tensor([[0, 0 + len(CLASSES)]]).numpy()
    with torch.no_grad():
        got = forward(next(kept.batches(items, epoch=0, n_workers=0))).embedding
    assert not torch.allclose(got[0], got[1], atol=1e-4)


def test_a_filling_that_was_interrupted_goes_on_and_folds_share_it(photos: list[Path], tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Counting:
        def __init__(self, most: int) -> None:
            self.most, self.n = most, 0

        def say(self, text: str) -> None:
            pass

        def track(self, items, *, total, what):
            for item in items:
                if self.n == self.most:
                    raise KilledError
                self.n += 1
                yield item

    one = network()
    frozen = tuple(stages(one.backbone))[:1]
    freeze(one, frozen)
    source = PhotoSource(photos * 9, INPUT)
    items = np.arange(2 * len(photos) * 9)

    def kept(folder: Path, progress: Counting, some: np.ndarray = items) -> np.ndarray:
        source_of = body(one, source, frozen, items=some, folder=folder, progress=progress)[1]
        return torch.cat(list(source_of.batches(some.reshape(-1, 8), epoch=0, n_workers=0))).numpy()

    whole = kept(tmp_path / "whole", Counting(99))
    with pytest.raises(KilledError):
        kept(tmp_path / "halves", Counting(2))
    rest = Counting(99)
    assert (kept(tmp_path / "halves", rest) == whole).all()
    assert rest.n == 5 - 2
    again = Counting(0)
    assert (kept(tmp_path / "halves", again, items[:64]) == whole[:64]).all()
