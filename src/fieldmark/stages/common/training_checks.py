"""Checks of a train stage: incompatible settings, and references to stages of another task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.losses.specs import Loss
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels, LabelPseudoLabels
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.common.boxes import Boxes
from fieldmark.training.compatibility import incompatible_losses

if TYPE_CHECKING:
    from fieldmark.stages.common.train import Train

IDENTITY_HEADS = ("one_vs_rest", "cosine", "affinity")
"""Heads with one logit per individual."""


def training_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Return all mistakes of a train stage, one sentence each."""
    found = _training_mistakes(stage) + _input_mistakes(stage, earlier)
    found += _pseudo_label_mistakes(stage, earlier) + _teacher_mistakes(stage, earlier)
    return found + _warm_mistakes(stage, earlier)


def _input_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Return the boxes that no earlier stage finds, and a mismatch of input channels."""
    found, wanted = [], stage.preprocess.n_channels
    if stage.net.backbone.in_channels != wanted:
        found.append(
            f"{stage.name}: 'preprocess' makes images of {wanted} channels, but the backbone takes "
            f"{stage.net.backbone.in_channels}: set net.backbone.in_channels = {wanted}"
        )
    return found + unfound(stage.name, stage.preprocess.finders(), earlier)


def unfound(name: str, finders: Sequence[Finder], earlier: Mapping[str, Stage]) -> list[str]:
    """Return a mistake for the finders whose boxes no earlier ``boxes`` stage finds."""
    available = [other.finder for other in earlier.values() if isinstance(other, Boxes)]
    lacking = [finder.kind for finder in finders if finder not in available and not isinstance(finder, TableBoxes)]
    if not lacking:
        return []
    problem = f"no earlier stage finds its boxes ({', '.join(lacking)})"
    return [f"{name}: {problem}: add a boxes stage with the same finder before it"]


def _pseudo_label_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Return a mistake if the pseudo-labels are for another task."""
    picked = earlier.get(stage.enlarged or "")
    if picked is None or not issubclass(picked.output, IdentityPseudoLabels | LabelPseudoLabels):
        return []
    if stage.learns_labels == issubclass(picked.output, LabelPseudoLabels):
        return []
    has, needs = ("individuals", "pseudo_label") if stage.learns_labels else ("labels", "pseudo_label_identities")
    return [f"{stage.name}: 'enlarged' names '{picked.name}', which picks {has}: name a {needs} stage"]


def _teacher_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Return mistakes in the settings of teachers for photos of unknown individuals."""
    found, is_distilled = [], any(loss.kind == "distilled" for loss in _losses(stage))
    if bool(stage.taught) != is_distilled or (stage.taught and not stage.unknowns):
        found.append(f"{stage.name}: use 'taught', the loss 'distilled' and unknowns = true together, or none of them")
    for name in stage.taught:
        teacher = earlier.get(name)
        if not isinstance(teacher, type(stage)):
            continue
        if teacher.net.head.kind not in IDENTITY_HEADS or stage.net.head.kind not in IDENTITY_HEADS:
            found.append(
                f"{stage.name}: 'taught' names '{name}', but both stages need a head of kind "
                f"{' or '.join(IDENTITY_HEADS)}"
            )
        elif (teacher.flip_identity, teacher.on) != (stage.flip_identity, stage.on):
            found.append(f"{stage.name}: 'taught' names '{name}', which has another split or another flip_identity")
    return found


def _losses(stage: Train) -> list[Loss]:
    """Return the losses of all phases, and those of the stage."""
    return [loss for phase in stage.training.phases for loss in phase.losses or ()] + list(stage.losses)


def _training_mistakes(stage: Train) -> list[str]:
    """Return incompatible combinations of head, losses, sampler and batch size."""
    found = []
    head, batch, sampler = stage.net.head.kind, stage.training.batch, stage.sampler
    if stage.learns_labels and sampler.kind in {"tuples", "pk", "assignment"}:
        found.append(
            f"{stage.name}: the sampler '{sampler.kind}' needs identities, but a sigmoid head is trained on labels"
        )
    for_labels = [name for name in ("groups", "trusted", "filled") if getattr(stage, name)]
    if for_labels and not stage.learns_labels:
        found.append(f"{stage.name}: {', '.join(for_labels)} are settings for labels, which need a sigmoid head")
    losses = _losses(stage)
    found += [f"{stage.name}: {mistake}" for mistake in incompatible_losses(stage.net, losses)]
    of_logits = [loss for loss in losses if all("logits" in needed for needed in loss.needs())]
    if head == "embedding" and of_logits:
        found.append(f"{stage.name}: an embedding head has no logits: use triplet, local_triplet or compactness")
    if head == "pair" and of_logits:
        found.append(f"{stage.name}: a pair head has no logits per photo: use pair_bce, pair_triplet or triplet")
    if batch % sampler.multiple:
        reasons = {"tuples": "4, as tuples need", "assignment": "4, as assignment mining needs"}
        multiple = reasons.get(sampler.kind, f"k = {sampler.multiple}")
        found.append(f"{stage.name}: batch {batch} is not a multiple of {multiple}")
    return found


def _warm_mistakes(stage: Train, earlier: Mapping[str, Stage]) -> list[str]:
    """Return mistakes in the stage that provides the initial weights."""
    source = earlier.get(stage.warm or "")
    if not isinstance(source, type(stage)):
        return []
    found = []
    if (stage.learns_labels, stage.learns_answers) != (source.learns_labels, source.learns_answers):
        found.append(f"{stage.name}: 'warm' must name a train stage of the same task (individuals, labels or answers)")
    if not set(stage.groups or source.groups) <= set(source.groups or stage.groups):
        found.append(f"{stage.name}: 'warm' stage '{source.name}' does not predict all of {', '.join(stage.groups)}")
    return found
