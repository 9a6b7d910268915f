"""What cannot work in a train stage: settings that do not go together, stages of other individuals or labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.losses.specs import Loss
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels, LabelPseudoLabels
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.common.boxes import Boxes
from fieldmark.training.compatibility import incompatible_losses as loss_misfits

if TYPE_CHECKING:
    from fieldmark.stages.common.train import Train

JUDGING = ("one_vs_rest", "cosine", "affinity")
"""Heads with a logit for each individual."""


def training_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """All of them, in one sentence each."""
    found = _training_misfits(stage) + _looking_misfits(stage, earlier)
    found += _picked_misfits(stage, earlier) + _taught_misfits(stage, earlier)
    return found + _warm_misfits(stage, earlier)


def _looking_misfits(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Boxes that nobody looks for, and a mask that the network has no channel for."""
    found, wanted = [], stage.preprocess.n_channels
    if stage.net.backbone.in_channels != wanted:
        found.append(
            f"{stage.name}: its pictures have {wanted} channels, its backbone takes {stage.net.backbone.in_channels}: "
            f"set net.backbone.in_channels = {wanted}"
        )
    return found + unfound(stage.name, stage.preprocess.finders(), earlier)


def unfound(name: str, finders: Sequence[Finder], earlier: Mapping[str, Stage]) -> list[str]:
    """Boxes that a stage wants and nobody looks for."""
    at_hand = [other.finder for other in earlier.values() if isinstance(other, Boxes)]
    lacking = [finder.kind for finder in finders if finder not in at_hand and not isinstance(finder, TableBoxes)]
    if not lacking:
        return []
    told = f"nobody looks for its boxes ({', '.join(lacking)})"
    return [f"{name}: {told}: put a boxes stage with that very finder before it"]


def _picked_misfits(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Labels picked for individuals, or the other way round."""
    picked = earlier.get(stage.enlarged or "")
    if picked is None or not issubclass(picked.output, IdentityPseudoLabels | LabelPseudoLabels):
        return []
    if stage.learns_labels == issubclass(picked.output, LabelPseudoLabels):
        return []
    what = "individuals; labels need an enlarge stage" if stage.learns_labels else "labels; individuals need recruit"
    return [f"{stage.name}: enlarged by '{picked.name}', which picks {what}"]


def _taught_misfits(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Unknown individuals that nobody teaches of, or whose teachers answer for others."""
    found, is_distilled = [], any(loss.kind == "distilled" for loss in _losses(stage))
    if bool(stage.taught) != is_distilled or (stage.taught and not stage.unknowns):
        found.append(
            f"{stage.name}: teachers of unknown individuals need all of taught, the loss 'distilled' and unknowns = true"
        )
    for name in stage.taught:
        teacher = earlier.get(name)
        if not isinstance(teacher, type(stage)):
            continue
        if teacher.net.head.kind not in JUDGING or stage.net.head.kind not in JUDGING:
            found.append(
                f"{stage.name}: taught by '{name}', but a head of {' or '.join(JUDGING)} must be on both sides"
            )
        elif (teacher.flip_identity, teacher.on) != (stage.flip_identity, stage.on):
            found.append(f"{stage.name}: taught by '{name}' with another split or another flip_identity")
    return found


def _losses(stage: Train) -> list[Loss]:
    """Those of its phases, and its own."""
    return [loss for phase in stage.training.phases for loss in phase.losses or ()] + list(stage.losses)


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
    of_logits = [loss for loss in losses if all("logits" in needed for needed in loss.needs())]
    if head == "embedding" and of_logits:
        told = "triplet, local_triplet or compactness"
        found.append(f"{stage.name}: an embedding head has no logits, its loss can only be {told}")
    if head == "pair" and of_logits:
        found.append(f"{stage.name}: a pair head has no logits of one photo: use pair_bce, pair_triplet or triplet")
    if batch % sampler.multiple:
        needs = {"tuples": "4, which tuples need", "assignment": "4, which assignment mining needs"}
        of = needs.get(sampler.kind, f"k = {sampler.multiple}")
        found.append(f"{stage.name}: batch {batch} is no multiple of {of}")
    return found


def _warm_misfits(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Networks to start from that learn something else."""
    source = earlier.get(stage.warm or "")
    if not isinstance(source, type(stage)):
        return []
    found = []
    if (stage.learns_labels, stage.learns_answers) != (source.learns_labels, source.learns_answers):
        found.append(f"{stage.name}: 'warm' must name a stage that learns the same kind of thing")
    if not set(stage.groups or source.groups) <= set(source.groups or stage.groups):
        found.append(f"{stage.name}: 'warm' stage '{source.name}' does not answer all of {', '.join(stage.groups)}")
    return found
