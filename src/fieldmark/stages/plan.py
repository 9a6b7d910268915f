"""A plan: stages by name, in order, each reading earlier ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field

from fieldmark.core.errors import PlanError, several
from fieldmark.core.spec import Spec, read
from fieldmark.stages.answer import Answer
from fieldmark.stages.cut import Cut
from fieldmark.stages.drop import Drop
from fieldmark.stages.embed import Embed
from fieldmark.stages.enlarge import Enlarge
from fieldmark.stages.look import Look
from fieldmark.stages.rank import ByLogits, Rank
from fieldmark.stages.score import Score
from fieldmark.stages.split import Split
from fieldmark.stages.stack import Stack
from fieldmark.stages.train import Train

Stage = Annotated[
    Split | Train | Embed | Rank | Score | Drop | Enlarge | Look | Stack | Cut | Answer, Field(discriminator="verb")
]
VERBS = (Split, Train, Embed, Rank, Score, Drop, Enlarge, Look, Stack, Cut, Answer)
StageT = TypeVar("StageT", Split, Train, Embed, Rank, Score, Drop, Enlarge, Look, Stack, Cut, Answer)
SCORING = (Score, Stack)
"""Stages that leave scores of labels."""


class Plan(Spec):
    """What a run does, whole: a frozen value that JSON and TOML can hold.

    Attributes:
        name: Of the recipe or the user's own.
        stages: In the order in which they run.
    """

    name: str
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def check(self) -> Self:
        """The plan itself, if its stages fit together.

        Raises:
            PlanError: Names twice, names that nobody wrote before, wrong verbs, settings that cannot work; all at once.
        """
        mistakes = [f"stage name '{name}' is used {n} times" for name, n in self._counts().items() if n > 1]
        earlier: dict[str, Stage] = {}
        for stage in self.stages:
            if not stage.name or not stage.name.replace("-", "").replace("_", "").isalnum():
                mistakes.append(f"stage name '{stage.name}' may have letters, digits, - and _ only")
            mistakes += [
                f"{stage.name}: reads '{name}', which no earlier stage writes"
                for name in stage.reads()
                if name not in earlier
            ]
            mistakes += _misfits(stage, earlier)
            earlier[stage.name] = stage
        if mistakes:
            raise PlanError(
                f"The plan '{self.name}' has {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="mend names and settings; `fieldmark plan humpback-classify --json` prints a plan that works.",
            )
        return self

    def only(self, kind: type[StageT]) -> StageT:
        """The last stage of this kind.

        Raises:
            PlanError: The plan has none.
        """
        found = [stage for stage in self.stages if isinstance(stage, kind)]
        if not found:
            raise PlanError(
                f"The plan '{self.name}' has no stage that can do this.",
                got=f"no {kind.__name__} stage",
                fix="add one.",
            )
        return found[-1]

    def _counts(self) -> Counter[str]:
        return Counter(stage.name for stage in self.stages)


def read_plan(path: Path) -> Plan:
    """A user's plan from a ``.toml`` or ``.json`` file, checked.

    Raises:
        PlanError: The file cannot be read, has unknown or wrong settings, or its stages do not fit together.
    """
    plan: Plan = read(Plan, path)
    return plan.check()


_WANTED: dict[tuple[str, str], tuple[type[Spec], ...]] = {
    ("train", "warm"): (Train,),
    ("train", "trusted"): (Drop,),
    ("train", "enlarged"): (Enlarge,),
    ("train", "filled"): SCORING,
    ("embed", "of"): (Train,),
    ("rank", "reads_from"): (Embed,),
    ("score", "of"): (Train,),
    ("score", "also"): (Score,),
    ("drop", "judge"): SCORING,
    ("enlarge", "judge"): (Score,),
    ("stack", "reads_from"): (Score,),
    ("stack", "looks"): (Look,),
    ("cut", "reads_from"): SCORING,
    ("answer", "reads_from"): (Rank, Cut),
}
"""Which kinds of stages an attribute may name; ``on`` always names a split."""


def _misfits(stage: Stage, earlier: dict[str, Stage]) -> list[str]:
    """What cannot work in one stage, given those before it."""
    found = []
    wanted = {"on": (Split,)} | {name: kinds for (verb, name), kinds in _WANTED.items() if verb == stage.verb}
    for attribute, kinds in wanted.items():
        named = getattr(stage, attribute, None) or ()
        for name in (named,) if isinstance(named, str) else named:
            source = earlier.get(name)
            if source is not None and not isinstance(source, kinds):
                verbs = " or ".join(kind.__name__.lower() for kind in kinds)
                article = "an" if verbs[0] in "aeiou" else "a"
                found.append(f"{stage.name}: '{attribute}' must name {article} {verbs} stage, '{name}' is none")
    if isinstance(stage, Train):
        found += _training_misfits(stage)
    if isinstance(stage, Stack):
        split = earlier.get(stage.on)
        if isinstance(split, Split) and getattr(split.folds, "n_folds", 3) < 3:
            found.append(f"{stage.name}: trees need three folds or more, '{split.name}' has two")
    if isinstance(stage, Train | Score | Embed):
        found += _task_misfits(stage, earlier)
    if isinstance(stage, Rank) and any(isinstance(vote.by, ByLogits) for vote in stage.votes):
        embed = earlier.get(stage.reads_from)
        train = earlier.get(embed.of) if isinstance(embed, Embed) else None
        if isinstance(train, Train) and train.net.head.kind == "embedding":
            found.append(f"{stage.name}: ranks by logits, but the head of '{train.name}' is an embedding without any")
    return found


def _training_misfits(stage: Train) -> list[str]:
    found = []
    head, batch, sampler = stage.net.head.kind, stage.training.batch, stage.sampler
    if stage.learns_labels and sampler.kind in {"tuples", "pk"}:
        found.append(f"{stage.name}: a sigmoid head learns labels, which the sampler '{sampler.kind}' cannot draw")
    for_labels = [name for name in ("groups", "trusted", "enlarged", "filled") if getattr(stage, name)]
    if for_labels and not stage.learns_labels:
        found.append(f"{stage.name}: {', '.join(for_labels)} are for labels, which need a sigmoid head")
    if head == "embedding" and any(loss.kind != "triplet" for loss in stage.losses):
        found.append(f"{stage.name}: an embedding head has no logits, its loss can only be triplet")
    if sampler.kind == "tuples" and batch % 4:
        found.append(f"{stage.name}: batch {batch} is no multiple of 4, which tuples need")
    if sampler.kind == "pk" and batch % sampler.k:
        found.append(f"{stage.name}: batch {batch} is no multiple of k = {sampler.k}")
    return found


def _task_misfits(stage: Train | Score | Embed, earlier: dict[str, Stage]) -> list[str]:
    """Individuals and labels do not mix: embed and rank are for the former, score and cut for the latter."""
    names = {"score": "of", "embed": "of", "train": "warm"}
    named = getattr(stage, names[stage.verb]) or ()
    found = []
    for name in (named,) if isinstance(named, str) else named:
        source = earlier.get(name)
        if not isinstance(source, Train):
            continue
        if isinstance(stage, Score) and not source.learns_labels:
            found.append(f"{stage.name}: '{name}' learns individuals; score needs networks with a sigmoid head")
        if isinstance(stage, Embed) and source.learns_labels:
            found.append(f"{stage.name}: '{name}' learns labels; embed is for individuals, use score")
        if isinstance(stage, Train) and stage.learns_labels != source.learns_labels:
            found.append(f"{stage.name}: 'warm' must name a stage that learns the same kind of thing")
        if isinstance(stage, Train) and not set(stage.groups or source.groups) <= set(source.groups or stage.groups):
            found.append(f"{stage.name}: 'warm' stage '{name}' does not answer all of {', '.join(stage.groups)}")
    return found
