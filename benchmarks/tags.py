"""Real tags, stage by stage: the recipe `imet2019` at small size on open clip art, and the effect of each addition.

    python benchmarks/tags.py ladder --runs runs      every stage of the recipe, out of fold and on the test part
    python benchmarks/tags.py gains --runs runs       each loss and addition to stage 1, one network, same features
    python benchmarks/tags.py finetune --runs runs    one network of fold 0, trained head or upper half (128 px)
    python benchmarks/tags.py table --runs runs       the tables of finished runs

The photos are $FIELDMARK_DATA/openclipart, with copies of one image (pixel_sha1) kept together. A fifth of these groups
is the test part, whose labels are used for the last column only. Stage 3 uses the test photos, without labels, for
pseudo-labels, as in the contest. Thresholds are fitted on out-of-fold scores (one per label group). The out-of-fold F2
is cross-fitted, with thresholds from the other half of the photos. Intervals are over photos, for the first seed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fieldmark.core.seeds import generator, hash_seed
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds
from fieldmark.decisions.specs import GlobalF2, GroupF2, LabelThreshold, Preset
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.models.network import build
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import LabelScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.networks import SavedNet, label_proba
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.imet import imet2019, tags_plain
from fieldmark.quality.regions.sources import label_source
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.threshold import label_groups
from fieldmark.training.features import FeatureStore
from fieldmark.training.loop import fit
from fieldmark.training.ranks import ranks
from fieldmark.training.work_directory import WorkDirectory

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "openclipart"
ALONE = {
    "drop_noisy": False,
    "hard_negatives": 0.0,
    "pseudo_labels": False,
    "finetune_group": "",
    "trees": False,
    "networks": 1,
}
FINE_SIDE_PX = 128
"""Smaller input, because training the upper half of a network at 224 px takes more than an hour on a laptop's core."""
GAINS: dict[str, dict[str, object]] = {
    "focal": {},
    "bce": {"loss": "bce"},
    "asymmetric": {"loss": "asymmetric"},
    "0.45 bce + 0.45 soft F2 + 0.1 focal": {"loss": "combined"},
    "focal, soft F2 in the last epochs": {"soft_f2": True},
    "focal, mixup 0.2": {"mixup": 0.2},
    "focal, plain sampling": {"oversample_rare": False},
    "focal, distilled (0.7)": {"distil": True},
    "focal, labels of similar photos": {"knn_label_transfer": True},
}


class Lines:
    """Progress as plain lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, text: str) -> None:  # noqa: D102 - the protocol's
        print(f"{time.monotonic() - self.began:7.0f} s  {text}", flush=True)

    def track(self, items: Iterable, *, total: int, what: str) -> Iterator:  # noqa: D102 - the protocol's
        del total, what
        yield from items


def parts() -> tuple[Collection, Collection, np.ndarray]:
    """Return training photos with labels, test photos without labels, and the truth of the test photos."""
    columns = {"image": "key", "file": "file", "labels": "labels", "group": "pixel_sha1"}
    photos = read(DATA / "labels.csv", columns=columns, photos=DATA)
    of_test = np.array([is_test(group) for group in photos.table["group"]])
    test = photos.take(of_test)
    bare = Collection.of(test.table.drop("labels"), root=test.root, name="test part", vocabulary=photos.vocabulary)
    return photos.take(~of_test), bare, test.truth


def is_test(group: str) -> bool:
    return int(hashlib.sha256(f"test part {group}".encode()).hexdigest(), 16) % 5 == 0


def run(name: str, plan: Plan, folder: Path, photos: tuple[Collection, Collection], seed: int) -> Path:
    """Run a plan and return its folder; stages that it shares with the ladder are reused."""
    known, test = photos
    place, ladder = folder / f"{name}, seed {seed}", folder / f"ladder, seed {seed}"
    reuse = ladder if ladder != place and (ladder / "plan.json").exists() else None
    execute(plan, known, place, new=test, seed=seed, progress=Lines(), features=folder / "features", reuse=reuse)
    return place


def last_stage(gain: str) -> str:
    """Return the stage at which an addition is evaluated."""
    return "zoo2" if "distil" in gain else "transferred" if "similar" in gain else "zoo"


def evaluate(place: Path, stage: str, truth: np.ndarray, rule: object) -> tuple[float, float, np.ndarray]:
    """Return the cross-fitted out-of-fold F2, the F2 on the test part, and the F2 of each test photo."""
    context = Context.open(place)
    known = context.known
    proba = context.artifact(LabelScores, stage).known(known)
    scored: ScoredPhotos = context.of_new().value(stage)
    fresh, groups = scored.mean.of(known.vocabulary.tags), label_groups(known.vocabulary)
    inside, tested = crossed(proba, known.truth, fresh, truth, rule, groups, known)
    return inside, float(tested.mean()), tested


def crossed(
    proba: np.ndarray,
    of_known: np.ndarray,
    fresh: np.ndarray,
    truth: np.ndarray,
    rule: object,
    groups: dict[str, np.ndarray],
    known: Collection,
) -> tuple[float, np.ndarray]:
    """Return the out-of-fold F2 with thresholds of the other half, and F2 of each test photo with common thresholds."""
    names = list(known.vocabulary.tags)
    half = generator(0, "halves").random(len(proba)) < 0.5
    scores = np.zeros(len(proba))
    for learn, score in ((half, ~half), (~half, half)):
        found = fit_label_thresholds(rule, proba[learn], of_known[learn], groups=groups, names=names, seed=0, n_boot=1)
        answer = cut(found, proba[score], groups=groups, names=names)
        scores[score] = f_beta_per_image(answer, of_known[score] > 0)
    found = fit_label_thresholds(rule, proba, of_known, groups=groups, names=names, seed=0, n_boot=1)
    tested = f_beta_per_image(cut(found, fresh, groups=groups, names=names), truth > 0)
    return float(scores.mean()), tested


def row(name: str, found: list[tuple[float, float, np.ndarray]]) -> None:
    inside, outside = [one[0] for one in found], [one[1] for one in found]
    ends = interval(np.mean([one[2] for one in found], axis=0))
    print(
        f"| {name} | {statistics.mean(inside):.4f} ({min(inside):.4f}-{max(inside):.4f}) | "
        f"{statistics.mean(outside):.4f} ({min(outside):.4f}-{max(outside):.4f}) | {ends.low:.4f}-{ends.high:.4f} |",
        flush=True,
    )


def table(folder: Path, seeds: list[int], truth: np.ndarray) -> None:
    head = (
        "| | F2 out of fold, mean over seeds (range) | F2 test part, mean over seeds (range) | 95 % over test photos |"
    )
    print(head + "\n|---|---|---|---|")
    half = Preset(
        groups={
            "category": LabelThreshold(at=0.5, least=0, most=None),
            "tag": LabelThreshold(at=0.5, least=0, most=None),
        }
    )
    for name, stage, rule, title in (
        ("plain", "zoo", half, "one network, BCE, threshold 0.5"),
        ("plain", "zoo", GlobalF2(), "one network, BCE, one threshold, tuned"),
        ("ladder", "zoo", GroupF2(), "1 ensemble of networks"),
        ("ladder", "zoo2", GroupF2(), "2 noisy-label filter"),
        ("ladder", "zoo3", GroupF2(), "3 pseudo-labels"),
        ("ladder", "special", GroupF2(), "4 fine-tuning per label group"),
        ("ladder", "trees", GroupF2(), "5 gradient boosting"),
        ("transfer", "transferred", GroupF2(), "label transfer from similar photos"),
        *((f"gain {gain}", last_stage(gain), GroupF2(), gain) for gain in GAINS),
    ):
        places = [folder / f"{name}, seed {seed}" for seed in seeds]
        done = [place for place in places if (place / stage / "stage.json").exists()]
        if done:
            short = f" ({len(done)} seeds)" if len(done) < len(seeds) else ""
            row(title + short, [evaluate(place, stage, truth, rule) for place in done])


def finetune(folder: Path, seed: int, truth: np.ndarray, *, effort: float) -> None:
    """Train one network of fold 0 of the ladder's split, once its head only and once its upper half."""
    context, features = Context.open(folder / f"ladder, seed {seed}"), FeatureStore(folder / "features")
    fold, group = context.artifact(Folds, "split").fold, ranks("cpu")
    known, new = context.known, context.new
    assert new is not None, "the ladder has no test part"
    held_out = np.flatnonzero(fold == 0)
    plans = {
        "frozen": imet2019(**ALONE),
        "upper half trained": imet2019(effort=effort, **ALONE, finetune_backbone=True),
    }
    for name, plan in plans.items():
        stage = next(one for one in plan.stages if isinstance(one, Train))
        preprocess = stage.preprocess.model_copy(update={"height_px": FINE_SIDE_PX, "width_px": FINE_SIDE_PX})
        stage = stage.model_copy(update={"preprocess": preprocess})
        network = build(stage.net, n_classes=stage.n_classes(context), seed=hash_seed(seed, stage.name))
        at = WorkDirectory(folder / f"fine {name}", group=group, progress=Lines(), features=features)
        fit(network, stage.lesson(context, k=0), stage.training, at=at, seed=hash_seed(seed, stage.name))
        items = np.concatenate([held_out, len(known) + np.arange(len(new))])
        source = label_source((known, new), preprocess)
        net = SavedNet(network, preprocess, "", group.device)
        (proba,) = label_proba([net], source, items=items, flip=True)
        of_known, groups = known.truth[held_out], label_groups(known.vocabulary)
        n = len(held_out)
        inside, tested = crossed(proba[:n], of_known, proba[n:], truth, GroupF2(), groups, known)
        row(f"{FINE_SIDE_PX} px, fold 0, {name}", [(inside, float(tested.mean()), tested)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ladder", "gains", "finetune", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--effort", type=float, default=1.0)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    known, test, truth = parts()
    print(f"{len(known)} training photos, {len(test)} test photos, {len(known.vocabulary.tags)} labels", flush=True)
    plans: dict[str, Plan] = {}
    if options.what == "ladder":
        plans = {"plain": tags_plain(effort=options.effort), "ladder": imet2019(effort=options.effort)}
        plans["transfer"] = imet2019(effort=options.effort, knn_label_transfer=True)
    elif options.what == "gains":
        plans = {f"gain {name}": imet2019(effort=options.effort, **ALONE, **gain) for name, gain in GAINS.items()}
    elif options.what == "finetune":
        finetune(options.runs, options.seeds[0], truth, effort=options.effort)
        return
    for seed in options.seeds:
        for name, plan in plans.items():
            run(name, plan, options.runs, (known, test), seed)
    table(options.runs, options.seeds, truth)


if __name__ == "__main__":
    main()
