"""The training data of a network."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import IdentityFolds, PkSampler
from fieldmark.images.specs import Preprocess
from fieldmark.losses.specs import ArcFace
from fieldmark.models import store as saved
from fieldmark.models.network import build
from fieldmark.models.specs import Backbone, CosineHead, Net, OneVsRestHead, RandomWeights
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.reidentify import reidentify
from fieldmark.stages.common.lessons import identity_watch
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.training import checkpoint
from fieldmark.training.ranks import ranks
from fieldmark.training.specs import Phase, Training
from toys import split_by


@pytest.fixture
def context(known: Collection, whales: Path, tmp_path: Path) -> Context:
    """The toy whales and two more photos of unknown individuals, one of them a copy of a named photo."""
    shutil.copytree(whales / "train", tmp_path / "train")
    shutil.copy(tmp_path / "train/000.jpg", tmp_path / "train/copy.jpg")
    more = [("copy.jpg", "new_whale"), ("unknown.jpg", "new_whale")]
    shutil.copy(whales / "test/t5.jpg", tmp_path / "train/unknown.jpg")
    names = {"image": [*known.images, *(image for image, _ in more)]}
    names["file"] = names["image"]
    names["identity"] = [*known.table["identity"], *(name for _, name in more)]
    photos = Collection.of(pl.DataFrame(names), root=tmp_path / "train", unknown="new_whale")
    plan = Plan(name="by hand", stages=(Split(folds=IdentityFolds()), STAGE))
    return Context(RunFolder(tmp_path / "run"), plan, photos, None, seed=1, device="cpu")


STAGE = Train(name="net", on="split", preprocess=Preprocess(height_px=32, width_px=64))
WATCHED = STAGE.model_copy(
    update={
        "net": Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead()),
        "training": Training(phases=(Phase(epochs=1),)),
    }
)


def taught(stage: Train, context: Context, fold: np.ndarray) -> set[str]:
    return {context.known.images[item] for item in stage.lesson(split_by(context, fold), k=0).items}


def trained(stage: Train, context: Context, fold: np.ndarray, folder: Path) -> Models:
    """The network that a stage trains for its only fold."""
    folder.mkdir(exist_ok=True)
    left = Models(folder)
    stage._fold(split_by(context, fold), left, k=0, group=ranks("cpu"))
    return left


def test_a_copy_of_a_named_photo_is_not_trained_as_unknown(context: Context) -> None:
    images = set(context.known.images)
    assert taught(STAGE, context, np.full(len(images), -1)) == images - {"copy.jpg"}


def test_validation_photos_are_not_trained_on(context: Context) -> None:
    fold = np.full(len(context.known), -1)
    fold[[1, 3]] = 0
    assert not taught(STAGE, context, fold) & {context.known.images[1], context.known.images[3]}


def test_without_unknowns_only_known_individuals_are_trained_on(context: Context) -> None:
    names = dict(zip(context.known.images, context.known.table["identity"], strict=True))
    named = {image for image, name in names.items() if name != "new_whale"}
    stage = STAGE.model_copy(update={"unknowns": False})
    assert taught(stage, context, np.full(len(names), -1)) == named


def test_batches_are_smaller_for_few_photos_down_to_a_quarter() -> None:
    training = Training(batch=96, least_batches=40)
    assert [training.fitting(n, multiple=3).batch for n in (10_000, 3_840, 3_839, 1_900, 936, 5)] == [
        96,
        96,
        48,
        24,
        24,
        24,
    ]
    assert training.fitting(5, multiple=48).batch == 48  # the multiple of the sampler has priority
    assert training.fitting(5, multiple=96) is training
    assert Training(batch=96).fitting(5) is not None
    assert Training(batch=96).fitting(97).batch == 96


def test_a_stage_trains_with_smaller_batches_on_few_photos(context: Context, tmp_path: Path) -> None:
    context.run.path.mkdir(exist_ok=True)
    net = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead())
    updates = {}
    for least in (1, 100):
        training = Training(phases=(Phase(epochs=1),), batch=16, least_batches=least)
        stage = STAGE.model_copy(update={"net": net, "training": training, "sampler": PkSampler(k=2)})
        fold = np.full(len(context.known), -1)
        fold[[0, 1]] = 0
        updates[least] = trained(stage, context, fold, tmp_path / f"least {least}").histories()[0][-1]["update"]
    assert updates[100] >= 3 * updates[1] > 0


@pytest.mark.parametrize(("flips", "of_mirrors"), [("same_identity", 0), ("other_identity", 1)])
def test_a_mirrored_photo_is_no_second_photo(context: Context, flips: str, of_mirrors: int) -> None:
    """Individuals with one photo are used in the last phase only, whether mirrored photos are added or not."""
    stage = next(one for one in reidentify(size="small", horizontal_flip=flips).stages if isinstance(one, Train))
    first = stage.training.phases[0]
    assert first.min_photos == 2
    lesson = stage.lesson(split_by(context, np.full(len(context.known), -1)), k=0)
    n, shift = len(context.known), of_mirrors * len(context.known.vocabulary.identities)
    classes, counts = context.known.classes, np.bincount(context.known.classes[context.known.classes >= 0])
    once = np.flatnonzero((classes >= 0) & (counts[classes] == 1))
    assert len(once)
    assert not np.isin(lesson.members(first) % n, once).any()
    counted = lesson.counts(lesson.items, len(counts) * (1 + of_mirrors)).tolist()
    assert counted[: len(counts)] == counts.tolist()
    assert counted[shift:][: len(counts)] == counts.tolist()


def test_an_individual_held_out_as_unknown_is_not_measured_as_known(context: Context, tmp_path: Path) -> None:
    """An individual that validates as unknown cannot be predicted, so it must not count in the metric."""
    names = np.array(context.known.table["identity"].to_list(), object)
    twos = [name for name in sorted(set(names) - {"new_whale"}) if (names == name).sum() > 1][:2]
    watched_by = {}
    for hidden in ((), ("w_0",)):
        fold = np.full(len(names), -1)
        fold[[int(np.flatnonzero(names == name)[0]) for name in twos]] = 0
        fold[np.isin(names, hidden)] = 0
        watch = identity_watch(WATCHED, split_by(context, fold), k=0, group=ranks("cpu"))
        network = build(WATCHED.net, n_classes=len(context.known.vocabulary.identities) * 2, seed=0)
        watched_by[hidden] = watch(network)["validation map5 (known)"]
    assert watched_by[()] == watched_by["w_0",] > 0


WARM_NET = Net(
    backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=CosineHead(scale=16, imprinted=True)
)
IMPRINTED = STAGE.model_copy(
    update={
        "net": WARM_NET,
        "losses": (ArcFace(),),
        "sampler": PkSampler(k=2),
        "training": Training(phases=(Phase(epochs=2, lr=1e-3),), batch=12),
    }
)


def weights(place: Path) -> dict[str, torch.Tensor]:
    return dict(saved.open(place).network.state_dict())


def fresh(context: Context) -> np.ndarray:
    fold = np.full(len(context.known), -1)
    fold[[0, 1]] = 0
    context.run.path.mkdir(exist_ok=True)
    return fold


def test_a_training_killed_in_its_first_checkpoint_starts_again(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without a complete checkpoint does not count: the directions are imprinted again."""

    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    fold, ends = fresh(context), []
    for disturbed in (False, True):
        folder = tmp_path / str(disturbed)
        if disturbed:
            with monkeypatch.context() as patched:
                patched.setattr(checkpoint, "save_file", killed)
                with pytest.raises(KilledError):
                    trained(IMPRINTED, context, fold, folder)
            assert Models(folder).checkpoints(0).exists()
        ends.append(weights(trained(IMPRINTED, context, fold, folder).place(0)))
    assert all(torch.equal(one, ends[1][name]) for name, one in ends[0].items())


def test_a_warm_start_keeps_the_copied_directions(context: Context, tmp_path: Path) -> None:
    fold = fresh(context)
    trained(IMPRINTED, context, fold, context.run.work_directory("net"))
    context.run.finish("net", receipt={"said": ""})
    none = Training(phases=(Phase(epochs=0),), batch=12)
    later = IMPRINTED.model_copy(update={"name": "later", "warm": "net", "training": none})
    before = weights(context.artifact(Models, "net").place(0))
    after = weights(trained(later, context, fold, tmp_path / "later").place(0))
    torch.testing.assert_close(after["head.directions"], before["head.directions"])
