from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import CLASSES, INPUT, NET, alone, lesson, network

from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import WhaleAugment
from fieldmark.models.backbone import stages
from fieldmark.models.network import freeze
from fieldmark.train.features import KeptFeatures, body
from fieldmark.train.loop import fit
from fieldmark.train.specs import Leg, Training


def n_files(folder: Path) -> int:
    return len(list(folder.glob("*.npy")))


@pytest.mark.parametrize("n_frozen", [1, 3, 99])
def test_kept_features_change_nothing_but_speed(
    photos: list[Path], tmp_path: Path, n_frozen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = tuple(list(stages(network().backbone))[:n_frozen])
    training = Training(legs=(Leg(epochs=2, lr=1e-2, freeze=frozen),), batch=8)
    kept = network()
    fit(kept, lesson(photos), training, folder=tmp_path / "kept" / "checkpoints", seed=5, group=alone())
    assert n_files(tmp_path / "kept" / ".features") == 1

    monkeypatch.setattr(PhotoSource, "fixed", lambda _: None)
    plain = network()
    fit(plain, lesson(photos), training, folder=tmp_path / "plain" / "checkpoints", seed=5, group=alone())
    assert not (tmp_path / "plain" / ".features").exists()
    for (name, a), b in zip(kept.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name


def test_they_are_read_again_by_another_head_and_not_by_another_network(photos: list[Path], tmp_path: Path) -> None:
    source = PhotoSource(photos, INPUT)
    frozen = tuple(stages(network().backbone))[:2]

    def looked_at(seed: int, net=NET, files: PhotoSource = source) -> None:
        one = network(seed, net)
        freeze(one, frozen)
        _, kept = body(one, files, frozen, folder=tmp_path, group=alone())
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
    before = PhotoSource(copies, INPUT).fixed()
    copies[3].write_bytes(photos[0].read_bytes() + b"\0")
    assert PhotoSource(copies, INPUT).fixed() != before


def test_nothing_is_kept_where_chance_has_a_say_or_nothing_is_frozen(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    source = PhotoSource(photos, INPUT, augment=WhaleAugment())
    assert body(one, source, ("stem",), folder=tmp_path, group=alone())[1] is source
    fixed = PhotoSource(photos, INPUT)
    assert body(one, fixed, (), folder=tmp_path, group=alone())[1] is fixed
    assert body(one, fixed, ("blocks.1",), folder=tmp_path, group=alone())[1] is fixed


def test_mirrored_items_have_features_of_their_own(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    frozen = tuple(stages(one.backbone))[:1]
    freeze(one, frozen)
    source = PhotoSource(photos, INPUT)
    forward, kept = body(one, source, frozen, folder=tmp_path, group=alone())
    one.eval()
    items = torch.tensor([[0, 0 + len(CLASSES)]]).numpy()
    with torch.no_grad():
        got = forward(next(kept.batches(items, epoch=0, n_workers=0))).embedding
    assert not torch.allclose(got[0], got[1], atol=1e-4)
