"""Real whales: the baseline, the recipes, their ensemble, and the effect of each setting with a shorter training.

    python benchmarks/humpback.py main --runs runs --seed 1        baseline and recipes for --epochs; their submissions
    python benchmarks/humpback.py ensemble --runs runs --seed 1    the ensemble of the runs of ``main``; its submission
    python benchmarks/humpback.py switches --runs runs             each recipe for --short epochs, then one change
    python benchmarks/humpback.py ensemble --runs runs --of A B    the ensemble of any finished runs; --by, --points
    python benchmarks/humpback.py variants --runs runs             variants of the softmax and the start of reidentify
    python benchmarks/humpback.py table --runs runs                the tables of finished runs

The runs of ``switches`` use no flipped view and, except for ``pseudo_label_rounds``, no photos of the challenge, to
save hours; ``tta`` is then a changed setting.

``--only NAME ...`` selects runs by their names in the tables, for ``main`` without the seed. Runs with the same
``--runs`` share cached features.

The answers of the challenge part are not used. All numbers are of the validation part (one photo of each of 512
individuals and 230 photos of unknown individuals, with identical files kept together), the same for all recipes of a
seed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import numpy as np

from fieldmark.api.ensembling import By, ensemble
from fieldmark.core.files import read_json
from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.data.marks import marked, read_marks
from fieldmark.data.reading import read
from fieldmark.data.specs import HumpbackSplit, TupleSampler
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import (
    Best,
    MeanTop,
    Nearest,
    PostProcessingRule,
    Reciprocal,
    SumAbove,
    Swap,
    Transposed,
)
from fieldmark.gallery.specs import KeypointMatching, Xfeat
from fieldmark.images.specs import Align, BoxCrop, BoxSource, FullFrame, Point
from fieldmark.losses.specs import (
    Affinity,
    BatchHardTriplet,
    CombinedMargin,
    Compactness,
    LocalTriplet,
    Loss,
    OhemBce,
    SphereFace,
)
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.ranking import average_precision
from fieldmark.models.specs import AffinityHead
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.recipe import RECIPES
from fieldmark.stacking.specs import Tuning
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.post_process import PostProcess
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.stages.identity.rerank_trees import RerankTrees
from fieldmark.tasks.identification.validation import ValidatedPhotos
from fieldmark.tasks.reporting import write_report

SHELF = dict(RECIPES.items())

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "humpback2018_100px"


class Variant(NamedTuple):
    """A variant of ``reidentify`` with a softmax.

    Attributes:
        imprinted: Whether the class centres are initialised from the photos.
        weight: Weight of the softmax loss beside the triplet loss.
        dropout: Dropout rate of the pooled feature.
        staged: Whether the first two thirds of the training use only individuals with two photos or more; then all
            individuals are used, at a fifth of the learning rate.
    """

    imprinted: bool = True
    weight: float = 0.02
    dropout: float = 0.0
    staged: bool = False


VARIANTS = {
    "not imprinted, softmax 1": Variant(imprinted=False, weight=1.0),
    "softmax 1": Variant(weight=1.0),
    "softmax 0.1": Variant(weight=0.1),
    "softmax 0.02": Variant(),
    "triplets alone": Variant(weight=1e-6),
    "dropout": Variant(dropout=0.2),
    "dropout, staged": Variant(dropout=0.2, staged=True),
    "dropout, staged, softmax 0.2": Variant(weight=0.2, dropout=0.2, staged=True),
}
COLUMNS = (
    "MAP@5",
    "top-1 of known",
    "MAP@5 of known",
    "AUC known/new",
    "FPIR, target 1 %",
    "TPIR at FPIR = 1 %",
    "FPIR, target 5 %",
    "TPIR at FPIR = 5 %",
)
COMPARED = ("humpback-classify", "humpback-siamese", "reidentify")
FLUKES = {"height_px": 96, "width_px": 192}
"""Input size of ``reidentify`` for flukes, which are twice as wide as high, as in the whale recipes."""


Change = Callable[[Plan], Plan]
StageT = TypeVar("StageT", bound=Spec)


def _each(kind: type[StageT], change: Callable[[StageT], StageT]) -> Change:
    """Return a change of every stage of a class."""

    def changed(plan: Plan) -> Plan:
        stages = tuple(change(stage) if isinstance(stage, kind) else stage for stage in plan.stages)
        return plan.model_copy(update={"stages": stages}).check()

    return changed


def _losses(*losses: Loss, stripes: int | None = None, head: Spec | None = None) -> Change:
    """Return a change of the losses, and of the head if they need another one."""

    def changed(train: Train) -> Train:
        net = {"stripes": stripes} | ({} if head is None else {"head": head})
        return train.model_copy(update={"net": train.net.model_copy(update=net), "losses": losses})

    return _each(Train, changed)


def _maps(n: int) -> Change:
    """Return a change that pools the last ``n`` maps of the backbone."""

    def changed(train: Train) -> Train:
        backbone = train.net.backbone.model_copy(update={"maps": n})
        return train.model_copy(update={"net": train.net.model_copy(update={"backbone": backbone})})

    return _each(Train, changed)


def _preprocess(**updates: object) -> Change:
    """Return a change of the preprocessing."""

    def changed(train: Train) -> Train:
        return train.model_copy(update={"preprocess": train.preprocess.model_copy(update=updates)})

    return _each(Train, changed)


def _votes(by: Spec, **updates: object) -> Change:
    """Return a change of the similarity for ranking; the vote of the head is kept."""

    def changed(stage: Rank) -> Rank:
        votes = tuple(
            vote if isinstance(vote.by, ByLogits) else Vote(by=by, weight=vote.weight) for vote in stage.votes
        )
        return stage.model_copy(update={"votes": votes, **updates})

    return _each(Rank, changed)


def _trees(**updates: object) -> Change:
    """Return a change of the settings of the second level."""

    def changed(stage: RerankTrees) -> RerankTrees:
        return stage.model_copy(update={"settings": stage.settings.model_copy(update=updates)})

    return _each(RerankTrees, changed)


def _points(**updates: object) -> Change:
    """Return a change of the settings of keypoint re-ranking."""
    return _each(RerankKeypoints, lambda stage: stage.model_copy(update=updates))


def _post_processing(*rules: PostProcessingRule) -> Change:
    """Return a change that adds post-processing rules after the ranking."""

    def changed(plan: Plan) -> Plan:
        ranking = plan.final()
        again = PostProcess(name="again", reads_from=ranking.name, on="split", rules=rules)
        answer = plan.stages[-1].model_copy(update={"reads_from": again.name})
        return plan.model_copy(update={"stages": (*plan.stages[:-1], again, answer)}).check()

    return changed


class Turned(NamedTuple):
    """A recipe with one changed setting. If the training is the same, the recipe's networks are reused.

    ``change`` modifies the plan if the recipe has no such setting; ``marked`` requires ``--marks``.
    """

    recipe: str
    switch: str
    options: dict[str, object]
    same_training: bool = False
    change: Change | None = None
    marked: bool = False

    @property
    def name(self) -> str:
        """Name of the run in the tables."""
        return f"{self.recipe}, {self.switch}"

    def plan(self, epochs: int) -> Plan:
        """Return the plan for the given number of epochs, without flipped views unless they are the changed setting."""
        plan = plan_of(self.recipe, epochs, **{"tta": False, **self.options})
        return plan if self.change is None else self.change(plan)


CLASSIFY, SIAMESE, ANY = COMPARED
LOSSES = (OhemBce(weight=0.25), BatchHardTriplet())
"""Losses of ``reidentify`` at this size."""
AT_320_PX = KeypointMatching(points=Xfeat(size_px=320))
CLICKED = BoxCrop(margin=0.1, jitter=0.05)
"""Boxes of a trained finder, from the table ``--marks``; ALIGNED uses the landmarks of flukes in the same table."""
TWO_SOURCES = CLICKED.model_copy(update={"sources": (BoxSource(weight=0.6), BoxSource(by=FullFrame(), weight=0.4))})
ALIGNED = Align(
    points=(
        Point(name="left_tip", x=0.06, y=0.1, mirror="right_tip"),
        Point(name="notch", x=0.5, y=0.53),
        Point(name="right_tip", x=0.94, y=0.1, mirror="left_tip"),
        Point(name="root", x=0.5, y=0.9),
    ),
    jitter=0.05,
)
SWITCHES = (
    *(Turned(CLASSIFY, f"no {one}", {one: False}) for one in ("flip_identity", "triplet", "unknowns", "curriculum")),
    Turned(CLASSIFY, "whole", {"train_all_layers": True}),
    Turned(CLASSIFY, "whole, masks grabcut", {"masks": "grabcut"}),
    Turned(CLASSIFY, "tta", {"tta": True}, same_training=True),
    Turned(CLASSIFY, "no centroids", {"score_by_centroid": False}, same_training=True),
    Turned(CLASSIFY, "evidence", {"keypoints": "xfeat"}, same_training=True),
    Turned(SIAMESE, "mining exact", {"mining": "exact"}),
    Turned(SIAMESE, "mining batch", {"mining": "batch"}),
    Turned(SIAMESE, "no noise", {"mining_noise": False}),
    Turned(SIAMESE, "pair_loss triplet", {"pair_loss": "triplet"}),
    Turned(SIAMESE, "no triplet", {"triplet": False}),
    Turned(SIAMESE, "compact", {"compactness": True}),
    Turned(SIAMESE, "no flip_identity", {"flip_identity": False}),
    Turned(SIAMESE, "tta", {"tta": True}, same_training=True),
    Turned(SIAMESE, "no rescoring", {"pair_reranking": False}, same_training=True),
    Turned(SIAMESE, "evidence", {"keypoints": "xfeat"}, same_training=True),
    Turned(SIAMESE, "alone", {"pair_head_only": True}, same_training=True),
    Turned(ANY, "loss cosface", {"loss": "cosface"}),
    Turned(ANY, "loss elastic", {"loss": "elastic"}),
    Turned(ANY, "loss softmax", {"loss": "softmax"}),
    Turned(ANY, "loss arcface", {"loss": "arcface"}),
    Turned(ANY, "loss arcface, no by_count", {"loss": "arcface", "margin_by_count": False}),
    Turned(ANY, "loss arcface, centres 2", {"loss": "arcface", "sub_centres": 2}),
    Turned(ANY, "loss arcface, warmup 0", {"loss": "arcface", "margin_warmup": 0.0}),
    Turned(ANY, "no staged", {"curriculum": False}),
    Turned(ANY, "no triplet", {"triplet": False}),
    Turned(ANY, "flips same", {"horizontal_flip": "same_identity"}),
    Turned(ANY, "flips none", {"horizontal_flip": "none"}),
    Turned(ANY, "no unknowns", {"unknowns": False}),
    Turned(ANY, "two maps", {}, change=_maps(2)),
    Turned(ANY, "aligned stripes too", {}, change=_losses(*LOSSES, LocalTriplet(), stripes=3)),
    Turned(ANY, "compact", {}, change=_losses(*LOSSES, Compactness())),
    Turned(ANY, "affinity", {}, change=_losses(Affinity(), BatchHardTriplet(), head=AffinityHead())),
    Turned(ANY, "loss sphereface", {"loss": "arcface"}, change=_losses(SphereFace(warmup=0.2), BatchHardTriplet())),
    Turned(ANY, "loss combined", {"loss": "arcface"}, change=_losses(CombinedMargin(warmup=0.2), BatchHardTriplet())),
    Turned(ANY, "tuples", {}, change=_each(Train, lambda one: one.model_copy(update={"sampler": TupleSampler()}))),
    Turned(ANY, "distil", {"distil": True}),
    Turned(ANY, "rounds 1", {"pseudo_label_rounds": 1}),
    Turned(ANY, "rounds 1, evidence", {"pseudo_label_rounds": 1, "keypoints": "xfeat"}),
    Turned(ANY, "boxes agreed", {"boxes": "agreed"}),
    Turned(ANY, "boxes of clicks", {}, change=_preprocess(crop=CLICKED), marked=True),
    Turned(ANY, "boxes and full frame", {}, change=_preprocess(crop=TWO_SOURCES), marked=True),
    Turned(ANY, "aligned", {}, change=_preprocess(crop=CLICKED, align=ALIGNED), marked=True),
    Turned(ANY, "tta", {"tta": True}, same_training=True),
    Turned(ANY, "no centroids", {"score_by_centroid": False}, same_training=True),
    Turned(ANY, "logits_weight 0", {"head_weight": 0.0}, same_training=True),
    Turned(ANY, "no centroids, reciprocal", {}, same_training=True, change=_votes(Best(), reciprocal=Reciprocal())),
    Turned(ANY, "no centroids, mean of the three nearest", {}, same_training=True, change=_votes(MeanTop())),
    Turned(ANY, "no centroids, nearest 500", {}, same_training=True, change=_votes(Nearest())),
    Turned(ANY, "no centroids, sum above 0.7", {}, same_training=True, change=_votes(SumAbove())),
    Turned(ANY, "swap", {}, same_training=True, change=_post_processing(Swap())),
    Turned(ANY, "swap, lead 0.03", {}, same_training=True, change=_post_processing(Swap(lead=0.03))),
    Turned(ANY, "transposed", {}, same_training=True, change=_post_processing(Transposed())),
    Turned(ANY, "trees", {"trees": True}, same_training=True),
    Turned(ANY, "trees on embeddings", {"trees": True}, same_training=True, change=_trees(columns="embedding")),
    Turned(ANY, "trees on both", {"trees": True}, same_training=True, change=_trees(columns="both")),
    Turned(ANY, "trees, searched", {"trees": True}, same_training=True, change=_trees(tuning=Tuning())),
    Turned(ANY, "evidence", {"keypoints": "xfeat"}, same_training=True),
    Turned(ANY, "evidence at 320 px", {"keypoints": "xfeat"}, same_training=True, change=_points(matching=AT_320_PX)),
    Turned(ANY, "evidence, shortlist 20", {"keypoints": "xfeat"}, same_training=True, change=_points(shortlist=20)),
)


class Lines:
    """Progress as plain lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, text: str) -> None:  # noqa: D102 - the protocol's
        print(f"{time.monotonic() - self.began:7.0f} s  {text}", flush=True)

    def track(self, items, *, total, what):  # noqa: D102 - the protocol's
        del total, what
        yield from items


def photos() -> tuple[Collection, Collection]:
    """Return the photos with identities, and those of the challenge."""
    known = read(DATA / "labels.csv", unknown="new_whale")
    return known, read(DATA / "challenge.csv", labelled=False)


def plan_of(recipe: str, epochs: int | None, **options: object) -> Plan:
    """Return the plan of a recipe for some epochs (None: the recipe's own), with the common validation photos."""
    if recipe == ANY:
        options = FLUKES | options
    efforts = [1.0] if epochs is None or recipe not in COMPARED else np.arange(0.05, 1.0, 0.01).tolist()
    plans = (SHELF[recipe](**options, effort=effort) if recipe in COMPARED else SHELF[recipe]() for effort in efforts)
    plan = next(plan for plan in plans if epochs is None or recipe not in COMPARED or n_epochs(plan) == epochs)
    split = Split(name="split", folds=HumpbackSplit())
    return plan.model_copy(update={"stages": (split, *plan.stages[1:])}).check()


def n_epochs(plan: Plan) -> int:
    """Return the number of epochs of the first training of a plan."""
    train = next(stage for stage in plan.stages if isinstance(stage, Train))
    return sum(phase.epochs for phase in train.training.phases)


def variant(epochs: int, by: Variant) -> Plan:
    """Return the plan of a variant of ``reidentify`` with a softmax."""
    plan = plan_of(ANY, epochs, tta=False, loss="arcface")
    train = plan.only(Train)
    head = train.net.head.model_copy(update={"imprinted": by.imprinted, "dropout": by.dropout})
    losses = tuple(
        loss.model_copy(update={"weight": by.weight}) if loss.kind == "arcface" else loss for loss in train.losses
    )
    phases = train.training.phases
    if by.staged:
        first = phases[0].model_copy(update={"min_photos": 2, "epochs": round(epochs * 0.67)})
        phases = (first, phases[0].model_copy(update={"lr": 2e-4, "epochs": epochs - first.epochs}))
    changed = {
        "net": train.net.model_copy(update={"head": head}),
        "losses": losses,
        "training": train.training.model_copy(update={"phases": phases}),
    }
    other = train.model_copy(update=changed)
    return plan.model_copy(update={"stages": tuple(other if one is train else one for one in plan.stages)}).check()


def run(
    name: str,
    plan: Plan,
    folder: Path,
    *,
    seed: int,
    with_new: bool = True,
    reuse: Path | None = None,
    marks: Path | None = None,
) -> None:
    known, new = photos()
    known = known if marks is None else marked(known, read_marks(marks))
    new = new if with_new else None
    began = time.monotonic()
    execute(plan, known, folder / name, new=new, seed=seed, progress=Lines(), features=folder / "features", reuse=reuse)
    write_report(Context.open(folder / name))
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def together(folder: Path, names: list[str], name: str, *, by: By, points: bool) -> None:
    """Combine finished runs into one run, as ``fieldmark ensemble --run`` does."""
    began = time.monotonic()
    ensemble([folder / one for one in names], run=folder / name, by=by, points=points, progress=Lines())
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def table(folder: Path, names: list[str]) -> None:
    print("\n| run | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for name in names:
        path = folder / name / "metrics.json"
        if path.exists():
            found = {row["name"]: row for row in read_json(path)}
            cells = [_cell(found.get(column)) for column in COLUMNS]
            print(f"| {name} | " + " | ".join(cells) + " |")


def _cell(row: dict[str, float] | None) -> str:
    return "" if row is None else f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"


def worth(folder: Path, first: str, others: list[str]) -> None:
    """Print the paired difference in MAP@5 of each run to the first run."""
    if not (folder / first / "metrics.json").exists():
        return
    print(f"\n| {first} | difference in MAP@5 (95 %) | of known individuals (95 %) |\n|---|---|---|")
    base = precision_of_photos(folder / first)
    for name in others:
        if (folder / name / "metrics.json").exists():
            cells = []
            for mine, theirs in zip(base, precision_of_photos(folder / name), strict=True):
                ends = interval(theirs - mine)
                cells.append(f"{ends.value:+.3f} ({ends.low:+.3f} to {ends.high:+.3f})")
            print(f"| {name.removeprefix(first + ', ')} | " + " | ".join(cells) + " |")


def precision_of_photos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the average precision at 5 of all validation photos, and of known individuals without the answer "new"."""
    scored = ValidatedPhotos(Context.open(folder))
    scores, truth, k = scored.scores, scored.truth, scored.k
    known = truth >= 0
    answers = rank(scores, unknown_at=scored.unknown_at, k=k)
    named = rank(scores[known], unknown_at=None, k=k)
    return average_precision(answers, truth, k=k), average_precision(named, truth[known], k=k)


def main() -> None:  # noqa: C901, PLR0912 - one branch per command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("main", "ensemble", "switches", "variants", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--epochs", type=int, help="epochs of each recipe of main (default: the recipe's own)")
    parser.add_argument("--short", type=int, default=4, help="epochs of each recipe of switches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="number of torch threads; 0 is torch's default")
    parser.add_argument("--of", nargs="*", help="ensemble: finished runs of one seed (default: those of main)")
    parser.add_argument("--by", choices=get_args(By), default="score", help="ensemble: rule of combination")
    parser.add_argument("--points", action="store_true", help="ensemble: match keypoints on the shortlists")
    parser.add_argument("--marks", type=Path, help="switches: boxes and landmarks; see benchmarks/landmarks.py")
    parser.add_argument("--only", nargs="*", help="names of the runs to make (default: all)")
    options = parser.parse_args()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    length = "" if options.epochs is None else f", {options.epochs} epochs"
    names = {recipe: f"{recipe}{length}, seed {options.seed}" for recipe in COMPARED}
    nearest, ensemble_lines = f"humpback-nearest, seed {options.seed}", f"ensemble{length}, seed {options.seed}"
    short = {recipe: f"short {recipe}" for recipe in COMPARED}
    mains = {nearest: plan_of("humpback-nearest", None)}
    mains |= {names[recipe]: plan_of(recipe, options.epochs) for recipe in COMPARED}
    wanted = options.only
    pointed = f"{ANY}, evidence{length}, seed {options.seed}"

    if options.what == "main":
        for name, plan in mains.items():
            if not wanted or name.split(",")[0] in wanted:
                run(name, plan, options.runs, seed=options.seed)
        if not wanted or f"{ANY}, evidence" in wanted:
            plan = plan_of(ANY, options.epochs, keypoints="xfeat")
            run(pointed, plan, options.runs, seed=options.seed, reuse=options.runs / names[ANY])
    if options.what == "ensemble":
        ensemble_lines = ensemble_lines if not options.of else f"ensemble of {' and '.join(options.of)}"
        ensemble_lines += "" if options.by == "score" else f", by {options.by}"
        ensemble_lines += ", points" if options.points else ""
        together(options.runs, options.of or list(names.values()), ensemble_lines, by=options.by, points=options.points)
    if options.what == "variants":
        for name, by in VARIANTS.items():
            if wanted and name not in wanted:
                continue
            plan = variant(options.short, by)
            run(f"variant {name}", plan, options.runs, seed=options.seed, with_new=False)
        table(options.runs, [f"variant {name}" for name in VARIANTS])
    if options.what == "switches":
        bases = {short[recipe]: plan_of(recipe, options.short, tta=False) for recipe in COMPARED}
        for name, plan in bases.items():
            if not wanted or name in wanted:
                run(name, plan, options.runs, seed=options.seed, with_new=False)
        for one in SWITCHES:
            if one.marked and options.marks is None:
                continue
            if not wanted or one.name in wanted:
                reuse = options.runs / short[one.recipe] if one.same_training else None
                run(
                    f"short {one.name}",
                    one.plan(options.short),
                    options.runs,
                    seed=options.seed,
                    with_new="pseudo_label_rounds" in one.options,
                    reuse=reuse,
                    marks=options.marks if one.marked else None,
                )
    table(options.runs, [*mains, pointed, ensemble_lines])
    if options.what in {"main", "ensemble", "table"}:
        worth(options.runs, ensemble_lines, [*mains, pointed])
        worth(options.runs, names[ANY], [pointed])
    if options.what in {"switches", "table"}:
        table(options.runs, [*short.values(), *(f"short {one.name}" for one in SWITCHES)])
        for recipe in COMPARED:
            worth(options.runs, short[recipe], [f"short {one.name}" for one in SWITCHES if one.recipe == recipe])


if __name__ == "__main__":
    main()
