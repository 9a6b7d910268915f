"""Real tags, stage by stage: the recipe `imet2019` at small size on open clip art, and what each added gain is worth.

    python benchmarks/tags.py ladder --runs runs      every stage of the recipe, out of fold and on the test part
    python benchmarks/tags.py gains --runs runs       each loss and gain on stage 1 with one network, same features
    python benchmarks/tags.py finetune --runs runs    one network of fold 0, head alone or upper half trained (128 px)
    python benchmarks/tags.py table --runs runs       the tables of what is finished

Photos: $FIELDMARK_DATA/openclipart, copies of one picture (pixel_sha1) kept together; a fifth of those groups is the
test part, whose labels are read only to print the last column. Its photos, without labels, are what stage 3 enlarges
from, as in the contest. Thresholds are found on out-of-fold scores (one a label group). Out of fold, the F2 is
cross-fitted: thresholds from the other half of the photos. Intervals are over photos, of the first seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from fieldmark.stages.engine import execute, open_run
from fieldmark.stages.job import Job
from fieldmark.stages.scored import known_proba, new_proba

from fieldmark.core.seeds import generator, hash_seed
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds
from fieldmark.decisions.specs import GlobalF2, GroupF2, LabelThreshold, Preset
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.models.network import build
from fieldmark.pipeline.networks import SavedNet, label_source
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.imet import imet2019, tags_plain
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.threshold import label_groups
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
"""Training the upper half of a network at 224 px took an hour and more on a laptop's core."""
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
    """Training photos with labels, test photos without, and the test photos' truth."""
    columns = {"image": "key", "file": "file", "labels": "labels", "group": "pixel_sha1"}
    photos = read(DATA / "labels.csv", columns=columns, photos=DATA)
    of_test = np.array([is_test(group) for group in photos.table["group"]])
    test = photos.take(of_test)
    bare = Collection.of(test.table.drop("labels"), root=test.root, name="test part", vocabulary=photos.vocabulary)
    return photos.take(~of_test), bare, test.truth


def is_test(group: str) -> bool:
    return int(hashlib.sha256(f"test part {group}".encode()).hexdigest(), 16) % 5 == 0


def run(name: str, plan: Plan, folder: Path, photos: tuple[Collection, Collection], seed: int) -> Path:
    """The run of a plan; stages that it has in common with the ladder are taken from there."""
    known, test = photos
    place, ladder = folder / f"{name}, seed {seed}", folder / f"ladder, seed {seed}"
    reuse = ladder if ladder != place and (ladder / "plan.json").exists() else None
    execute(plan, known, place, new=test, seed=seed, progress=Lines(), features=folder / "features", reuse=reuse)
    return place


def last_stage(gain: str) -> str:
    """The stage that a gain is judged by."""
    return "zoo2" if "distil" in gain else "lent" if "similar" in gain else "zoo"


def judge(place: Path, stage: str, truth: np.ndarray, rule: object) -> tuple[float, float, np.ndarray]:
    """Cross-fitted F2 out of fold, F2 on the test part with thresholds found out of fold, and F2 of each test photo."""
    opened = open_run(place)
    job = opened.job()
    proba, fresh = known_proba(job, stage), new_proba(job, stage)
    groups = label_groups(opened.known.vocabulary)
    inside, tested = crossed(proba, opened.known.truth, fresh, truth, rule, groups, job)
    return inside, float(tested.mean()), tested


def crossed(
    proba: np.ndarray,
    of_known: np.ndarray,
    fresh: np.ndarray,
    truth: np.ndarray,
    rule: object,
    groups: dict[str, np.ndarray],
    job: Job,
) -> tuple[float, np.ndarray]:
    """F2 out of fold with thresholds of the other half, and F2 of each test photo with thresholds of all known ones."""
    names = list(job.known.vocabulary.tags)
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
        ("ladder", "zoo", GroupF2(), "1 the zoo"),
        ("ladder", "zoo2", GroupF2(), "2 trust"),
        ("ladder", "zoo3", GroupF2(), "3 enlarge"),
        ("ladder", "special", GroupF2(), "4 specialise"),
        ("ladder", "trees", GroupF2(), "5 trees"),
        ("lent", "lent", GroupF2(), "labels of similar photos beside the trees"),
        *((f"gain {gain}", last_stage(gain), GroupF2(), gain) for gain in GAINS),
    ):
        places = [folder / f"{name}, seed {seed}" for seed in seeds]
        done = [place for place in places if (place / stage / "stage.json").exists()]
        if done:
            short = f" ({len(done)} seeds)" if len(done) < len(seeds) else ""
            row(title + short, [judge(place, stage, truth, rule) for place in done])


def finetune(folder: Path, seed: int, truth: np.ndarray, *, effort: float) -> None:
    """One network of fold 0 of the ladder's split, with its head alone trained and with its upper half trained."""
    job = dataclasses.replace(open_run(folder / f"ladder, seed {seed}").job(), features=folder / "features")
    fold, group, new = read_folds(job, "split"), ranks("cpu"), job.new
    judged = np.flatnonzero(fold == 0)
    plans = {
        "frozen": imet2019(**ALONE),
        "upper half trained": imet2019(effort=effort, **ALONE, finetune_backbone=True),
    }
    for name, plan in plans.items():
        stage = next(one for one in plan.stages if isinstance(one, Train))
        preprocess = stage.preprocess.model_copy(update={"height_px": FINE_SIDE_PX, "width_px": FINE_SIDE_PX})
        stage = stage.model_copy(update={"preprocess": preprocess})
        network = build(stage.net, n_classes=stage.n_classes(job), seed=hash_seed(seed, stage.name))
        at = WorkDirectory(folder / f"fine {name}", group=group, progress=Lines(), features=job.features)
        fit(network, stage.lesson(job, k=0, fold=fold), stage.training, at=at, seed=hash_seed(seed, stage.name))
        items = np.concatenate([judged, len(job.known) + np.arange(len(new))])
        source = label_source((job.known, new), preprocess)
        proba = SavedNet(network, preprocess, "", group.device).label_proba(source, items=items, flip=True)
        of_known, groups = job.known.truth[judged], label_groups(job.known.vocabulary)
        inside, tested = crossed(proba[: len(judged)], of_known, proba[len(judged) :], truth, GroupF2(), groups, job)
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
        plans["lent"] = imet2019(effort=options.effort, knn_label_transfer=True)
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
