"""Real whales: the baseline, the recipes, their ensemble, and what each switch is worth at one equal, shorter budget.

    python benchmarks/humpback.py main --runs runs --seed 1     baseline and recipes for --epochs; their submissions
    python benchmarks/humpback.py blend --runs runs --seed 1    the ensemble of what ``main`` left; its submission
    python benchmarks/humpback.py switches --runs runs          each recipe for --short epochs, then one switch turned
    python benchmarks/humpback.py blend --runs runs --of A B    the ensemble of any finished runs; --by, --points
    python benchmarks/humpback.py variants --runs runs          how reidentify came to its softmax and its start
    python benchmarks/humpback.py table --runs runs             the tables of what is finished

The runs of ``switches`` look at each photo once (no mirrored view) and, but for ``pseudo_label_rounds``, not at the challenge's, to
save hours; ``tta`` is then a switch turned on.

``--only NAME ...`` does a part: names as they stand in the tables, those of ``main`` without the seed. Runs that share
``--runs`` share the kept features.

Nothing here looks at the challenge part's answers: numbers are of the validation part (one photo of each of 512
individuals and 230 photos of unknown individuals, groups of identical files kept together), the same for all recipes of a seed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import numpy as np
from fieldmark.stages.engine import execute, open_run

from fieldmark.api.ensembling import By, blend
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
from fieldmark.pipeline.plan import Plan, ranking_stage
from fieldmark.plans.recipe import RECIPES
from fieldmark.stacking.specs import Tuning
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.post_process import PostProcess
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.stages.identity.rerank_trees import RerankTrees
from fieldmark.tasks.identification.report import Judged
from fieldmark.tasks.reporting import write_report

SHELF = dict(RECIPES.items())

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "humpback2018_100px"


class Variant(NamedTuple):
    """Another way to train ``reidentify`` with a softmax.

    Attributes:
        imprinted: Directions begin at the photos.
        weight: Of the softmax beside the triplets.
        dropout: Share of the pooled feature that is left out while learning.
        staged: Only individuals with two photos or more for the first two thirds, then all at a fifth of the rate.
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
RECIPES = ("humpback-classify", "humpback-siamese", "reidentify")
FLUKES = {"height_px": 96, "width_px": 192}
"""What ``reidentify`` is told of flukes: they are twice as wide as high. The whale recipes know."""


Change = Callable[[Plan], Plan]
StageT = TypeVar("StageT", bound=Spec)


def _each(kind: type[StageT], change: Callable[[StageT], StageT]) -> Change:
    """Change every stage of a kind."""

    def changed(plan: Plan) -> Plan:
        stages = tuple(change(stage) if isinstance(stage, kind) else stage for stage in plan.stages)
        return plan.model_copy(update={"stages": stages}).check()

    return changed


def _losses(*losses: Loss, stripes: int | None = None, head: Spec | None = None) -> Change:
    """Learn by these losses instead, with a head of another kind if they need one."""

    def changed(train: Train) -> Train:
        net = {"stripes": stripes} | ({} if head is None else {"head": head})
        return train.model_copy(update={"net": train.net.model_copy(update=net), "losses": losses})

    return _each(Train, changed)


def _maps(n: int) -> Change:
    """Pool the last ``n`` maps of the backbone."""

    def changed(train: Train) -> Train:
        backbone = train.net.backbone.model_copy(update={"maps": n})
        return train.model_copy(update={"net": train.net.model_copy(update={"backbone": backbone})})

    return _each(Train, changed)


def _look(**updates: object) -> Change:
    """Show the network photos in another way."""

    def changed(train: Train) -> Train:
        return train.model_copy(update={"preprocess": train.preprocess.model_copy(update=updates)})

    return _each(Train, changed)


def _votes(by: Spec, **updates: object) -> Change:
    """Rank by another likeness; the head's vote stays."""

    def changed(stage: Rank) -> Rank:
        votes = tuple(
            vote if isinstance(vote.by, ByLogits) else Vote(by=by, weight=vote.weight) for vote in stage.votes
        )
        return stage.model_copy(update={"votes": votes, **updates})

    return _each(Rank, changed)


def _trees(**updates: object) -> Change:
    """Other settings of the second level."""

    def changed(stage: RerankTrees) -> RerankTrees:
        return stage.model_copy(update={"settings": stage.settings.model_copy(update=updates)})

    return _each(RerankTrees, changed)


def _points(**updates: object) -> Change:
    """Other settings of the second look."""
    return _each(RerankKeypoints, lambda stage: stage.model_copy(update=updates))


def _second_thoughts(*rules: PostProcessingRule) -> Change:
    """Look at the answers as a whole, after the ranking."""

    def changed(plan: Plan) -> Plan:
        ranking = ranking_stage(plan)
        again = PostProcess(name="again", reads_from=ranking.name, on="split", rules=rules)
        answer = plan.stages[-1].model_copy(update={"reads_from": again.name})
        return plan.model_copy(update={"stages": (*plan.stages[:-1], again, answer)}).check()

    return changed


class Turned(NamedTuple):
    """A recipe with one switch turned; where training is the same, that of the recipe is reused.

    ``change`` is of the plan, where the recipe itself has no such switch; ``marked`` wants ``--marks``.
    """

    recipe: str
    switch: str
    options: dict[str, object]
    same_training: bool = False
    change: Change | None = None
    marked: bool = False

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return f"{self.recipe}, {self.switch}"

    def plan(self, epochs: int) -> Plan:
        """For so many epochs, each photo looked at once unless the switch says otherwise."""
        plan = plan_of(self.recipe, epochs, **{"tta": False, **self.options})
        return plan if self.change is None else self.change(plan)


CLASSIFY, SIAMESE, ANY = RECIPES
ASKED = (OhemBce(weight=0.25), BatchHardTriplet())
"""What ``reidentify`` learns by, at this size."""
AT_320_PX = KeypointMatching(points=Xfeat(size_px=320))
CLICKED = BoxCrop(margin=0.1, jitter=0.05)
"""The boxes that a finder has learnt from clicks, as ``--marks`` has them; so ALIGNED, where flukes' landmarks lie."""
MIXED = CLICKED.model_copy(update={"sources": (BoxSource(weight=0.6), BoxSource(by=FullFrame(), weight=0.4))})
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
    Turned(ANY, "aligned stripes too", {}, change=_losses(*ASKED, LocalTriplet(), stripes=3)),
    Turned(ANY, "compact", {}, change=_losses(*ASKED, Compactness())),
    Turned(ANY, "affinity", {}, change=_losses(Affinity(), BatchHardTriplet(), head=AffinityHead())),
    Turned(ANY, "loss sphereface", {"loss": "arcface"}, change=_losses(SphereFace(warmup=0.2), BatchHardTriplet())),
    Turned(ANY, "loss combined", {"loss": "arcface"}, change=_losses(CombinedMargin(warmup=0.2), BatchHardTriplet())),
    Turned(ANY, "tuples", {}, change=_each(Train, lambda one: one.model_copy(update={"sampler": TupleSampler()}))),
    Turned(ANY, "distil", {"distil": True}),
    Turned(ANY, "rounds 1", {"pseudo_label_rounds": 1}),
    Turned(ANY, "rounds 1, evidence", {"pseudo_label_rounds": 1, "keypoints": "xfeat"}),
    Turned(ANY, "boxes agreed", {"boxes": "agreed"}),
    Turned(ANY, "boxes of clicks", {}, change=_look(crop=CLICKED), marked=True),
    Turned(ANY, "boxes mixed", {}, change=_look(crop=MIXED), marked=True),
    Turned(ANY, "aligned", {}, change=_look(crop=CLICKED, align=ALIGNED), marked=True),
    Turned(ANY, "tta", {"tta": True}, same_training=True),
    Turned(ANY, "no centroids", {"score_by_centroid": False}, same_training=True),
    Turned(ANY, "logits_weight 0", {"head_weight": 0.0}, same_training=True),
    Turned(ANY, "no centroids, reciprocal", {}, same_training=True, change=_votes(Best(), reciprocal=Reciprocal())),
    Turned(ANY, "no centroids, mean of the three nearest", {}, same_training=True, change=_votes(MeanTop())),
    Turned(ANY, "no centroids, nearest 500", {}, same_training=True, change=_votes(Nearest())),
    Turned(ANY, "no centroids, sum above 0.7", {}, same_training=True, change=_votes(SumAbove())),
    Turned(ANY, "swap", {}, same_training=True, change=_second_thoughts(Swap())),
    Turned(ANY, "swap, lead 0.03", {}, same_training=True, change=_second_thoughts(Swap(lead=0.03))),
    Turned(ANY, "transposed", {}, same_training=True, change=_second_thoughts(Transposed())),
    Turned(ANY, "trees", {"trees": True}, same_training=True),
    Turned(ANY, "trees on embeddings", {"trees": True}, same_training=True, change=_trees(columns="embedding")),
    Turned(ANY, "trees on both", {"trees": True}, same_training=True, change=_trees(columns="both")),
    Turned(ANY, "trees, searched", {"trees": True}, same_training=True, change=_trees(tuning=Tuning())),
    Turned(ANY, "evidence", {"keypoints": "xfeat"}, same_training=True),
    Turned(ANY, "evidence at 320 px", {"keypoints": "xfeat"}, same_training=True, change=_points(evidence=AT_320_PX)),
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
    """The photos with identities, and those of the challenge."""
    known = read(DATA / "labels.csv", unknown="new_whale")
    return known, read(DATA / "challenge.csv", labelled=False)


def plan_of(recipe: str, epochs: int | None, **options: object) -> Plan:
    """A recipe for so many epochs (None: all of its own), judged by the same validation photos as the others."""
    if recipe == ANY:
        options = FLUKES | options
    efforts = [1.0] if epochs is None or recipe not in RECIPES else np.arange(0.05, 1.0, 0.01).tolist()
    plans = (SHELF[recipe](**options, effort=effort) if recipe in RECIPES else SHELF[recipe]() for effort in efforts)
    plan = next(plan for plan in plans if epochs is None or recipe not in RECIPES or n_epochs(plan) == epochs)
    split = Split(name="split", folds=HumpbackSplit())
    return plan.model_copy(update={"stages": (split, *plan.stages[1:])}).check()


def n_epochs(plan: Plan) -> int:
    """Of the plan's first training."""
    train = next(stage for stage in plan.stages if isinstance(stage, Train))
    return sum(phase.epochs for phase in train.training.phases)


def variant(epochs: int, by: Variant) -> Plan:
    """``reidentify`` with a softmax, trained in another way."""
    plan = plan_of(ANY, epochs, tta=False, loss="arcface", staged=False)
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
    write_report(open_run(folder / name))
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def together(folder: Path, names: list[str], name: str, *, by: By, points: bool) -> None:
    """One run of finished runs, as ``fieldmark ensemble --run`` makes it."""
    began = time.monotonic()
    blend([folder / one for one in names], run=folder / name, by=by, points=points, progress=Lines())
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
    """How much MAP@5 each run has more than the first, photo by photo."""
    if not (folder / first / "metrics.json").exists():
        return
    print(f"\n| {first} | difference in MAP@5 (95 %) | of known individuals (95 %) |\n|---|---|---|")
    base = judged_photos(folder / first)
    for name in others:
        if (folder / name / "metrics.json").exists():
            cells = []
            for mine, theirs in zip(base, judged_photos(folder / name), strict=True):
                ends = interval(theirs - mine)
                cells.append(f"{ends.value:+.3f} ({ends.low:+.3f} to {ends.high:+.3f})")
            print(f"| {name.removeprefix(first + ', ')} | " + " | ".join(cells) + " |")


def judged_photos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Average precision at 5 of each validation photo, and of each known one with nobody called new."""
    judged = Judged(open_run(folder))
    scores, truth, k = judged.scores, judged.truth, judged.final.k
    known = truth >= 0
    answers = rank(scores, unknown_at=judged.unknown_at, k=k)
    named = rank(scores[known], unknown_at=None, k=k)
    return average_precision(answers, truth, k=k), average_precision(named, truth[known], k=k)


def main() -> None:  # noqa: C901, PLR0912 - a door
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("main", "blend", "switches", "variants", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--epochs", type=int, help="of each recipe of main; default: all of its own")
    parser.add_argument("--short", type=int, default=4, help="epochs of each recipe of switches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own choice")
    parser.add_argument("--of", nargs="*", help="of blend: finished runs of one seed; default: those of main")
    parser.add_argument("--by", choices=get_args(By), default="score", help="of blend")
    parser.add_argument("--points", action="store_true", help="of blend: match points on the blend's shortlists")
    parser.add_argument("--marks", type=Path, help="of switches: boxes and landmarks; see benchmarks/landmarks.py")
    parser.add_argument("--only", nargs="*", help="names of runs, to do a part")
    options = parser.parse_args()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    length = "" if options.epochs is None else f", {options.epochs} epochs"
    names = {recipe: f"{recipe}{length}, seed {options.seed}" for recipe in RECIPES}
    nearest, ensemble_lines = f"humpback-nearest, seed {options.seed}", f"ensemble{length}, seed {options.seed}"
    short = {recipe: f"short {recipe}" for recipe in RECIPES}
    mains = {nearest: plan_of("humpback-nearest", None)}
    mains |= {names[recipe]: plan_of(recipe, options.epochs) for recipe in RECIPES}
    wanted = options.only
    pointed = f"{ANY}, evidence{length}, seed {options.seed}"

    if options.what == "main":
        for name, plan in mains.items():
            if not wanted or name.split(",")[0] in wanted:
                run(name, plan, options.runs, seed=options.seed)
        if not wanted or f"{ANY}, evidence" in wanted:
            plan = plan_of(ANY, options.epochs, keypoints="xfeat")
            run(pointed, plan, options.runs, seed=options.seed, reuse=options.runs / names[ANY])
    if options.what == "blend":
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
        bases = {short[recipe]: plan_of(recipe, options.short, tta=False) for recipe in RECIPES}
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
    if options.what in {"main", "blend", "table"}:
        worth(options.runs, ensemble_lines, [*mains, pointed])
        worth(options.runs, names[ANY], [pointed])
    if options.what in {"switches", "table"}:
        table(options.runs, [*short.values(), *(f"short {one.name}" for one in SWITCHES)])
        for recipe in RECIPES:
            worth(options.runs, short[recipe], [f"short {one.name}" for one in SWITCHES if one.recipe == recipe])


if __name__ == "__main__":
    main()
