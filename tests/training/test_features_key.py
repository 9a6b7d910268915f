"""The key of cached features: every setting that can change the features changes the key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch

from fieldmark.core.spec import Spec
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import (
    Agreed,
    Align,
    Augment,
    BoxCrop,
    BoxSource,
    FeatureNorm,
    GrabCut,
    ImaterialistAugment,
    MaskChannel,
    Point,
    Preprocess,
    TableBoxes,
    TrainedFinder,
    WhaleAugment,
)
from fieldmark.images.subjects import Subject
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.network import Network, freeze
from fieldmark.models.specs import FileWeights, Net, SigmoidHead
from fieldmark.training.embed import embed_photos
from fieldmark.training.features import FeatureStore, body, features_key
from toys import CLASSES, INPUT, NET, network

ALL = len(backbone_stages(network().backbone))
ITEMS = np.arange(2 * len(CLASSES))


def key(one: Network, source: PhotoSource, *, n_stages: int = ALL) -> str:
    lower = one.lower(n_stages)
    assert lower is not None
    return features_key(lower, source, settings=one.lower_settings(n_stages))


# --- every value of a spec, changed one at a time


NEEDS_MORE: dict[Any, Spec] = {
    TrainedFinder: TrainedFinder(folder="other"),
    FileWeights: FileWeights(path="other.safetensors"),
    Align: Align(points=(Point(name="a", x=0, y=0), Point(name="b", x=1, y=0), Point(name="c", x=0, y=1))),
}
"""Examples of classes without default values."""


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The types of a field: members of unions, without annotations."""
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(kind for one in get_args(annotation) for kind in kinds_of(one))
    return kinds_of(annotation.__origin__) if hasattr(annotation, "__metadata__") else (annotation,)


def others(value: Any, annotation: Any) -> Iterator[tuple[str, Any]]:
    """Other values than ``value``, each with the path of the difference; for a spec, one per field at any depth."""
    kinds = kinds_of(annotation)
    choices = [one for kind in kinds if get_origin(kind) is Literal for one in get_args(kind)]
    if isinstance(value, Spec):
        yield from _other_specs(value, kinds)
    elif choices:
        yield from (("", one) for one in choices if one != value)
    elif isinstance(value, tuple):
        parts = [part for kind in kinds for part in get_args(kind)]
        if Ellipsis in parts:  # of any length
            yield "shorter", value[:-1]
        for at, one in enumerate(value):
            for path, other in others(one, parts[0]):
                yield f"{at}.{path}".rstrip("."), (*value[:at], other, *value[at + 1 :])
    elif value is None:
        raise AssertionError(f"give the example a value for {annotation}, so that it can be changed")
    else:
        yield "", f"{value}x" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
    if NoneType in kinds:
        yield "none", None


def _other_specs(value: Spec, kinds: tuple[Any, ...]) -> Iterator[tuple[str, Spec]]:
    """The spec with one field changed; then specs of the other allowed kinds."""
    for name, field in type(value).model_fields.items():
        if name != "kind":
            for path, other in others(getattr(value, name), field.annotation):
                yield f"{name}.{path}".rstrip("."), value.model_copy(update={name: other})
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Spec) and not isinstance(value, kind):
            yield kind.__name__, NEEDS_MORE.get(kind) or kind()


class TestOthers:
    def test_no_field_at_any_depth_is_skipped(self) -> None:
        paths = {path for path, _ in others(PREPROCESS, Preprocess)}
        assert set(Preprocess.model_fields) == {path.split(".")[0] for path in paths}
        assert {"align.points.0.mirror", "crop.sources.0.by.colour.seed", "mask.by.sha256", "mean.0"} <= paths
        assert {"crop.FullFrame", "crop.CropIfNeeded", "align.none", "mask.dropped"} <= paths
        assert {path.split(".")[0] for path, _ in others(EXAMPLE, Net)} == set(Net.model_fields)

    def test_a_value_of_none_is_changed_too(self) -> None:
        with pytest.raises(AssertionError, match="give the example a value"):
            list(others(None, int | None))


# --- photos


TIPS = (Point(name="left", x=0.1, y=0.2, mirror="right"), Point(name="right", x=0.9, y=0.2, mirror="left"))
PREPROCESS = Preprocess(
    height_px=32,
    width_px=48,
    crop=BoxCrop(sources=(BoxSource(by=Agreed(colour=GrabCut(), network=FeatureNorm())), BoxSource(by=TableBoxes()))),
    align=Align(
        points=(*TIPS, Point(name="notch", x=0.5, y=0.8, mirror="notch")), by=TrainedFinder(folder="by", sha256="0")
    ),
    mask=MaskChannel(by=TrainedFinder(folder="masks", sha256="1")),
)


def test_every_setting_of_preprocessing_changes_the_key(photos: list[Path]) -> None:
    plain = PhotoSource(photos, PREPROCESS).fingerprint()
    changed = list(others(PREPROCESS, Preprocess))
    assert [path for path, other in changed if PhotoSource(photos, other).fingerprint() == plain] == []
    assert len({PhotoSource(photos, other).fingerprint() for _, other in changed}) == len(changed)


@pytest.mark.parametrize("augment", [WhaleAugment(), ImaterialistAugment()], ids=lambda one: one.kind)
def test_every_setting_of_augmentation_its_versions_and_seed_change_the_key(
    augment: Augment, photos: list[Path]
) -> None:
    def keyed(augment: Augment, *, versions: int = 2, seed: int = 0) -> str:
        return PhotoSource(photos, INPUT, augment=augment, versions=versions, seed=seed).fingerprint()

    changed = [keyed(other) for _, other in others(augment, Augment)]
    keys = [keyed(augment), keyed(augment, versions=3), keyed(augment, seed=1), *changed]
    assert len(set(keys)) == len(keys) > len(type(augment).model_fields) + 2


def test_boxes_landmarks_and_masks_of_every_photo_change_the_key(photos: list[Path]) -> None:
    plain = Subject(boxes=((1.0, 2.0, 9.0, 9.0), None), points=((3.0, 4.0),), mask="1 2 0 1 1")
    changes: dict[str, Any] = {"boxes": ((1.0, 2.0, 9.0, 8.5), None), "points": ((3.0, 4.5),), "mask": "1 2 1 1"}
    assert set(changes) == {field.name for field in fields(Subject)}

    def keyed(*subjects: Subject) -> str:
        return PhotoSource(photos[:2], INPUT, subjects=subjects).fingerprint()

    keys = [keyed(plain, plain), PhotoSource(photos[:2], INPUT).fingerprint()]
    for name, value in changes.items():
        other = replace(plain, **{name: value})
        keys += [keyed(other, plain), keyed(plain, other)]
    assert len(set(keys)) == len(keys)


def test_which_photos_and_their_order_change_the_key(photos: list[Path]) -> None:
    orders = [photos, photos[::-1], photos[1:], [*photos, photos[0]]]
    assert len({PhotoSource(order, INPUT).fingerprint() for order in orders}) == len(orders)


# --- networks


ABOVE = {"neck", "head", "stripes"}
"""Fields of ``Net`` that cannot change cached features: neck and head come after the backbone and its pooling. So do
stripes; with them the whole map is cached instead of its pooled vector, which has another key."""
POOLING = {"backbone.pool", "backbone.maps"}
"""Fields that cannot change cached features if the pooling is not part of them."""
EXAMPLE = NET.model_copy(
    update={
        "stripes": 2,
        "backbone": NET.backbone.model_copy(update={"weights": FileWeights(path="w.safetensors", sha256="0")}),
    }
)


@pytest.mark.parametrize("n_stages", [2, ALL])
def test_every_setting_of_a_network_that_can_change_features_changes_the_key(n_stages: int, photos: list[Path]) -> None:
    """Only settings differ: weights and modules are those of one network, as two networks may have equal weights."""
    one, source = network(), PhotoSource(photos, INPUT)
    one.net = EXAMPLE
    plain = key(one, source, n_stages=n_stages)
    changed = set()
    for path, other in others(EXAMPLE, Net):
        one.net = other
        if key(one, source, n_stages=n_stages) == plain:
            changed.add(path)
    same = {path for path, _ in others(EXAMPLE, Net) if path.split(".")[0] in ABOVE}
    assert changed == same | (POOLING if n_stages < ALL else set())


def test_networks_that_pool_otherwise_share_no_vectors_but_the_stages_below(photos: list[Path]) -> None:
    source = PhotoSource(photos, INPUT)
    backbones = [NET.backbone.model_copy(update={"pool": pool}) for pool in ("avg", "max", "gem")]
    nets = [NET.model_copy(update={"backbone": one}) for one in backbones]
    nets.append(NET.model_copy(update={"stripes": 1}))
    made = [network(net=net) for net in nets]
    assert len({key(one, source) for one in made[:3]}) == 3
    assert key(made[3], source) not in {key(one, source) for one in made[:2]}  # a map, not a vector
    assert len({key(one, source, n_stages=2) for one in made}) == 1
    two = network(net=NET.model_copy(update={"backbone": NET.backbone.model_copy(update={"maps": 2})}))
    assert key(two, source, n_stages=2) == key(made[0], source, n_stages=2)


def test_equal_weights_share_features_with_any_head_or_neck(photos: list[Path]) -> None:
    source, plain = PhotoSource(photos, INPUT), network()
    same = [NET.model_copy(update={"neck": "none"}), NET.model_copy(update={"head": SigmoidHead(dropout=0.5)})]
    assert {key(network(net=net), source) for net in same} == {key(plain, source)}
    with torch.no_grad():
        next(plain.backbone.parameters()).view(-1)[0] += 1e-3
    assert key(plain, source) != key(network(), source)


@pytest.mark.parametrize("first", ["avg", "max"])
def test_a_second_network_trains_and_predicts_with_its_own_features(
    first: str, photos: list[Path], tmp_path: Path
) -> None:
    """Average and maximum pooling have no weights: two such networks once shared one file by mistake."""
    source = PhotoSource(photos, INPUT)
    pools = (first, "max" if first == "avg" else "avg")
    for pool in pools:
        one = network(net=NET.model_copy(update={"backbone": NET.backbone.model_copy(update={"pool": pool})}))
        plain = embed_photos(one, source, device=torch.device("cpu"), logits=True)
        freeze(one, ("all",))
        taught = body(one, source, items=ITEMS, features=FeatureStore(tmp_path))
        one.eval()
        order = np.arange(len(photos))[None]
        with torch.no_grad():
            trained = taught.above(next(taught.source.batches(order, epoch=0, n_workers=0)))
        np.testing.assert_allclose(trained.embedding, plain.embedding[0], atol=1e-5, err_msg=pool)
        kept = embed_photos(one, source, device=torch.device("cpu"), logits=True, features=FeatureStore(tmp_path))
        np.testing.assert_allclose(kept.embedding, plain.embedding, atol=1e-5, err_msg=pool)
    assert len(list(tmp_path.glob("*.done.npy"))) == 2
