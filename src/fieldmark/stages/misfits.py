"""What cannot work in a plan: stages that read the wrong kind of stage, or settings that do not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fieldmark.core.spec import Spec
from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.losses.specs import Loss
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.blend import Blend
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.rank import ByLogits, Rank
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.stages.identity.recruit import Recruit
from fieldmark.stages.identity.rescore import Rescore
from fieldmark.stages.identity.stack_identities import StackIdentities
from fieldmark.stages.identity.think_again import ThinkAgain
from fieldmark.stages.labels.cut import Cut
from fieldmark.stages.labels.drop import Drop
from fieldmark.stages.labels.enlarge import Enlarge
from fieldmark.stages.labels.lend import Lend
from fieldmark.stages.labels.look import Look
from fieldmark.stages.labels.merge import Merge
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.settle import Settle
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.texts import Texts
from fieldmark.training.misfits import misfits as loss_misfits

if TYPE_CHECKING:
    from fieldmark.stages.plan import Stage

RANKERS = (Rank, Rescore, Recheck, StackIdentities, Blend, ThinkAgain)
"""Stages that leave ranked individuals."""
JUDGING = ("one_vs_rest", "cosine", "affinity")
"""Heads with a logit for each individual."""
SCORING = (Score, Stack, Lend, Texts, Merge)
"""Stages that leave scores of labels or answers."""

_WANTED: dict[tuple[str, str], tuple[type[Spec], ...]] = {
    ("train", "warm"): (Train,),
    ("train", "trusted"): (Drop,),
    ("train", "enlarged"): (Enlarge, Recruit),
    ("train", "taught"): (Train,),
    ("recruit", "judges"): (Rank, Rescore, Recheck, StackIdentities, Blend),
    ("train", "filled"): SCORING,
    ("embed", "of"): (Train,),
    ("rank", "reads_from"): (Embed,),
    ("rescore", "reads_from"): (Rank,),
    ("rescore", "of"): (Train,),
    ("rescore", "embedded"): (Embed,),
    ("recheck", "reads_from"): (Rank, Rescore, Blend),
    ("recheck", "embedded"): (Embed,),
    ("score", "of"): (Train,),
    ("score", "also"): (Score,),
    ("drop", "judge"): SCORING,
    ("enlarge", "judge"): (Score,),
    ("stack", "reads_from"): (Score, Texts),
    ("stack", "looks"): (Look,),
    ("lend", "reads_from"): (Score, Stack),
    ("lend", "looks"): (Look,),
    ("cut", "reads_from"): SCORING,
    ("stack_identities", "reads_from"): (Embed,),
    ("blend", "reads_from"): RANKERS,
    ("think_again", "reads_from"): RANKERS,
    ("merge", "reads_from"): SCORING,
    ("settle", "reads_from"): SCORING,
    ("answer", "reads_from"): (*RANKERS, Cut, Settle),
}
"""Which kinds of stages an attribute may name; ``on`` always names a split."""


def misfits(stage: Stage, earlier: dict[str, Stage]) -> list[str]:
    """What cannot work in one stage, given those before it."""
    found = []
    wanted = {"on": (Split,)} | {name: kinds for (verb, name), kinds in _WANTED.items() if verb == stage.verb}
    for attribute, kinds in wanted.items():
        named = getattr(stage, attribute, None) or ()
        for name in (named,) if isinstance(named, str) else named:
            source = earlier.get(name)
            if source is not None and not isinstance(source, kinds):
                verbs = " or ".join(str(kind.model_fields["verb"].default) for kind in kinds)
                article = "an" if verbs[0] in "aeiou" else "a"
                found.append(f"{stage.name}: '{attribute}' must name {article} {verbs} stage, '{name}' is none")
    if isinstance(stage, Train):
        found += _training_misfits(stage) + _looking_misfits(stage, earlier)
        found += _picked_misfits(stage, earlier) + _taught_misfits(stage, earlier)
    if isinstance(stage, Stack):
        split = earlier.get(stage.on)
        if isinstance(split, Split) and getattr(split.folds, "n_folds", 3) < 3:
            found.append(f"{stage.name}: trees need three folds or more, '{split.name}' has two")
    if isinstance(stage, Train | Score | Embed):
        found += _task_misfits(stage, earlier)
    if isinstance(stage, Rescore):
        found += _rescoring_misfits(stage, earlier)
    if isinstance(stage, Recheck):
        found += _unfound(stage.name, (stage.within,), earlier) + _rechecking_misfits(stage, earlier)
    return found + _ranking_misfits(stage, earlier)


def _ranking_misfits(stage: Stage, earlier: dict[str, Stage]) -> list[str]:
    """Rankings of other photos, and votes that nobody can cast."""
    found = []
    if isinstance(stage, Merge) and len(stage.weights) not in {0, len(stage.reads_from)}:
        found.append(f"{stage.name}: {len(stage.weights)} weights for {len(stage.reads_from)} stages")
    if isinstance(stage, Blend) and len(stage.weights) not in {0, len(stage.reads_from)}:
        found.append(f"{stage.name}: {len(stage.weights)} weights for {len(stage.reads_from)} rankings")
    if isinstance(stage, Recruit) and stage.rule.rule.kind == "agreement" and len(stage.judges) < 2:
        found.append(f"{stage.name}: one ranking alone cannot agree with others: name two judges, or use sure")
    if isinstance(stage, Blend | ThinkAgain | Recruit):
        sources = stage.judges if isinstance(stage, Recruit) else stage.reads_from
        sources = (sources,) if isinstance(sources, str) else sources
        others = [name for name in sources if getattr(earlier.get(name), "on", stage.on) != stage.on]
        found += [f"{stage.name}: '{name}' was split by another stage than '{stage.on}'" for name in others]
    if isinstance(stage, Rank) and any(isinstance(vote.by, ByLogits) for vote in stage.votes):
        embed = earlier.get(stage.reads_from)
        train = earlier.get(embed.of) if isinstance(embed, Embed) else None
        if isinstance(train, Train) and train.net.head.kind in {"embedding", "pair"}:
            found.append(f"{stage.name}: ranks by logits, but the head of '{train.name}' gives none")
    return found


def _looking_misfits(stage: Train, earlier: dict[str, Stage]) -> list[str]:
    """Boxes that nobody looks for, and a mask that the network has no channel for."""
    found, wanted = [], stage.preprocess.n_channels
    if stage.net.backbone.in_channels != wanted:
        found.append(
            f"{stage.name}: its pictures have {wanted} channels, its backbone takes {stage.net.backbone.in_channels}: "
            f"set net.backbone.in_channels = {wanted}"
        )
    return found + _unfound(stage.name, stage.preprocess.finders(), earlier)


def _unfound(name: str, finders: Sequence[Finder], earlier: dict[str, Stage]) -> list[str]:
    """Boxes that a stage wants and nobody looks for."""
    at_hand = [other.finder for other in earlier.values() if isinstance(other, Boxes)]
    lacking = [finder.kind for finder in finders if finder not in at_hand and not isinstance(finder, TableBoxes)]
    if not lacking:
        return []
    told = f"nobody looks for its boxes ({', '.join(lacking)})"
    return [f"{name}: {told}: put a boxes stage with that very finder before it"]


def _picked_misfits(stage: Train, earlier: dict[str, Stage]) -> list[str]:
    """Labels picked for individuals, or the other way round."""
    picked = earlier.get(stage.enlarged or "")
    if not isinstance(picked, Enlarge | Recruit) or stage.learns_labels == isinstance(picked, Enlarge):
        return []
    what = "individuals; labels need an enlarge stage" if stage.learns_labels else "labels; individuals need recruit"
    return [f"{stage.name}: enlarged by '{picked.name}', which picks {what}"]


def _taught_misfits(stage: Train, earlier: dict[str, Stage]) -> list[str]:
    """Strangers that nobody teaches of, or whose teachers answer for others."""
    found, is_distilled = [], any(loss.kind == "distilled" for loss in _losses(stage))
    if bool(stage.taught) != is_distilled or (stage.taught and not stage.unknowns):
        found.append(
            f"{stage.name}: teachers of strangers need all of taught, the loss 'distilled' and unknowns = true"
        )
    for name in stage.taught:
        teacher = earlier.get(name)
        if not isinstance(teacher, Train):
            continue
        if teacher.net.head.kind not in JUDGING or stage.net.head.kind not in JUDGING:
            found.append(
                f"{stage.name}: taught by '{name}', but a head of {' or '.join(JUDGING)} must be on both sides"
            )
        elif (teacher.flip_identity, teacher.on) != (stage.flip_identity, stage.on):
            found.append(f"{stage.name}: taught by '{name}' with another split or another flip_identity")
    return found


def _losses(stage: Train) -> list[Loss]:
    """Those of its legs, and its own."""
    return [loss for leg in stage.training.legs for loss in leg.losses or ()] + list(stage.losses)


def _training_misfits(stage: Train) -> list[str]:
    found = []
    head, batch, sampler = stage.net.head.kind, stage.training.batch, stage.sampler
    if stage.learns_labels and sampler.kind in {"tuples", "pk", "assignment"}:
        found.append(f"{stage.name}: a sigmoid head learns labels, which the sampler '{sampler.kind}' cannot draw")
    for_labels = [name for name in ("groups", "trusted", "filled") if getattr(stage, name)]
    if for_labels and not stage.learns_labels:
        found.append(f"{stage.name}: {', '.join(for_labels)} are for labels, which need a sigmoid head")
    losses = _losses(stage)
    found += [f"{stage.name}: {told}" for told in loss_misfits(stage.net, losses)]
    of_embeddings = {"triplet", "local_triplet", "compactness"}
    if head == "embedding" and any(loss.kind not in of_embeddings for loss in losses):
        told = "triplet, local_triplet or compactness"
        found.append(f"{stage.name}: an embedding head has no logits, its loss can only be {told}")
    if head == "pair" and any(loss.kind not in of_embeddings | {"pair_bce", "pair_triplet"} for loss in losses):
        found.append(f"{stage.name}: a pair head has no logits of one photo: use pair_bce, pair_triplet or triplet")
    if batch % sampler.multiple:
        needs = {"tuples": "4, which tuples need", "assignment": "4, which assignment mining needs"}
        of = needs.get(sampler.kind, f"k = {sampler.multiple}")
        found.append(f"{stage.name}: batch {batch} is no multiple of {of}")
    return found


def _rescoring_misfits(stage: Rescore, earlier: dict[str, Stage]) -> list[str]:
    """Pairs are judged by a pair head, of what the very same networks embedded."""
    found = []
    train, embed = earlier.get(stage.of), earlier.get(stage.embedded)
    if isinstance(train, Train) and train.net.head.kind != "pair":
        found.append(f"{stage.name}: '{train.name}' has no pair head: give it head = {{kind = 'pair'}}")
    if isinstance(embed, Embed) and embed.of != stage.of:
        found.append(f"{stage.name}: '{embed.name}' embeds by '{embed.of}', not by '{stage.of}'")
    return found


def _rechecking_misfits(stage: Recheck, earlier: dict[str, Stage]) -> list[str]:
    """The most alike photos are those that networks behind the ranking find alike."""
    source = earlier.get(stage.reads_from)
    behind = source.reads_from if isinstance(source, Blend) else (stage.reads_from,)
    eyes = [one for name in behind if (one := eye(name, earlier))]
    if not eyes or stage.embedded in eyes or not isinstance(earlier.get(stage.embedded), Embed):
        return []
    return [f"{stage.name}: '{stage.reads_from}' ranks by {' and '.join(eyes)}, not by '{stage.embedded}'"]


def eye(name: str, earlier: Mapping[str, Stage]) -> str | None:
    """The embed stage whose photos a ranking stage shows beside an answer; None: its plan has other mistakes."""
    stage = earlier.get(name)
    if isinstance(stage, Rank | StackIdentities):
        return stage.reads_from
    if isinstance(stage, Recheck):
        return stage.embedded
    if isinstance(stage, Blend):
        return eye(stage.reads_from[0], earlier)
    return eye(stage.reads_from, earlier) if isinstance(stage, Rescore | ThinkAgain) else None


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
        if isinstance(stage, Train) and (stage.learns_labels, stage.learns_answers) != (
            source.learns_labels,
            source.learns_answers,
        ):
            found.append(f"{stage.name}: 'warm' must name a stage that learns the same kind of thing")
        if isinstance(stage, Train) and not set(stage.groups or source.groups) <= set(source.groups or stage.groups):
            found.append(f"{stage.name}: 'warm' stage '{name}' does not answer all of {', '.join(stage.groups)}")
    return found
