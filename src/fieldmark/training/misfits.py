"""Which losses cannot work on which network: told before anything is trained (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from fieldmark.losses.specs import Affinity, LocalTriplet, Loss, Margined, PairBce, PairTriplet, QuestionSoftmax
from fieldmark.models.specs import AffinityHead, CosineHead, Net, PairHead, QuestionsHead


def misfits(net: Net, losses: Iterable[Loss]) -> list[str]:
    """Losses that read what this network does not give; each with what would mend it.

    Args:
        net: Settings of the network.
        losses: Of all legs of its training; those named twice are told once.
    """
    found = []
    for loss in dict.fromkeys(losses):
        if isinstance(loss, Margined) and not isinstance(net.head, CosineHead):
            found.append(
                f"{loss.kind} asks for a margin between cosines, a {net.head.kind} head gives none: "
                'use head = {kind = "cosine"}'
            )
        if isinstance(loss, Affinity) and not isinstance(net.head, AffinityHead):
            found.append(f'affinity needs centres, a {net.head.kind} head has none: use head = {{kind = "affinity"}}')
        if isinstance(loss, PairBce | PairTriplet) and not isinstance(net.head, PairHead):
            found.append(
                f'{loss.kind} asks about two photos, a {net.head.kind} head sees one: use head = {{kind = "pair"}}'
            )
        if isinstance(loss, QuestionSoftmax) and not isinstance(net.head, QuestionsHead):
            found.append(
                f"question_softmax answers questions, a {net.head.kind} head has none: "
                'use head = {kind = "questions"}'
            )
        if isinstance(loss, LocalTriplet) and net.stripes is None:
            found.append("local_triplet compares stripes, the network gives none: set stripes = 8")
    return found
