"""A finished run as somebody who answers questions about any photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import Collection
from fieldmark.decisions.settling import filled
from fieldmark.stages.common.questions import prior_of
from fieldmark.stages.engine import Opened, open_run
from fieldmark.stages.labels.settle import Settle
from fieldmark.stages.voices import Voices


@dataclass(frozen=True)
class Reply:
    """The answer to one question.

    Attributes:
        question: Its name.
        answer: What is answered; where the question does not apply, the likeliest answer all the same.
        proba: How likely it is right.
        applies: Whether the question is asked of such a photo at all.
        depth: How many questions it hangs from.
        others: The next likeliest answers, each with its probability.
    """

    question: str
    answer: str
    proba: float
    applies: bool
    depth: int = 0
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Answered:
    """All answers about one photo, in the order of the questions."""

    image: str
    file: Path
    replies: tuple[Reply, ...]

    @property
    def answer(self) -> dict[str, str]:
        """What is answered to the questions that apply."""
        return {one.question: one.answer for one in self.replies if one.applies}


class Answerer:
    """Networks, texts and weights of a finished run.

    Args:
        opened: The run.
        device: Where to compute.

    Example:
        ``Answerer.open(Path("runs/shop")).answer(photos)``
    """

    def __init__(self, opened: Opened, *, device: str = "auto") -> None:
        self.opened = opened
        self.settle = opened.plan.only(Settle)
        opened.run.receipt(self.settle.name)
        self.voices = Voices(opened, device=device)

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto") -> Answerer:
        """The answerer in a run folder.

        Raises:
            RunError: No run lies there, or it is not finished.
            PlanError: The run answers no questions.
        """
        return cls(open_run(folder), device=device)

    def proba(
        self, photos: Collection, *, n_workers: int = 2, progress: Progress = QUIET
    ) -> Float32[np.ndarray, "photo answer"]:
        """The probability of every answer; of photos of which nothing is known, how common the answers are."""
        name = self.settle.reads_from
        proba = self.voices.proba(name, photos, n_workers=n_workers, progress=progress)
        gone = self.voices.absent(name, photos)
        return np.where(gone[:, None], prior_of(self.opened.known), proba).astype(np.float32)

    def answer(
        self, photos: Collection, *, most: int = 2, n_workers: int = 2, progress: Progress = QUIET
    ) -> list[Answered]:
        """The answers about each photo.

        Args:
            photos: Any; of their table only texts are looked at, and those only that the run was trained with.
            most: How many other answers to tell.
            n_workers: Threads that read photos ahead.
            progress: Told as batches end.
        """
        vocabulary = self.opened.known.vocabulary
        proba = self.proba(photos, n_workers=n_workers, progress=progress)
        settled = self.settle.settled(proba, vocabulary)
        best = filled(settled, proba, vocabulary.question_of)
        names = vocabulary.every_answer
        members = [np.flatnonzero(vocabulary.question_of == q) for q in range(len(vocabulary.questions))]
        depth = _depths(self.opened)
        found = []
        for row, (image, file) in enumerate(zip(photos.images, photos.paths, strict=True)):
            replies = []
            for number, question in enumerate(vocabulary.questions):
                chosen, columns = int(best[row, number]), members[number]
                order = columns[np.argsort(-proba[row, columns], kind="stable")].tolist()
                others = [(names[c], float(proba[row, c])) for c in order if c != chosen][:most]
                replies.append(
                    Reply(
                        question=question.name,
                        answer=names[chosen],
                        proba=float(proba[row, chosen]),
                        applies=bool(settled[row, number] >= 0),
                        depth=depth[question.name],
                        others=tuple(others),
                    )
                )
            found.append(Answered(image, file, tuple(replies)))
        return found


def _depths(opened: Opened) -> dict[str, int]:
    depth: dict[str, int] = {}
    for one in opened.known.vocabulary.questions:
        above = [one.below] if one.below is not None else []
        above += [one.applies.question] if one.applies is not None else []
        depth[one.name] = 1 + max((depth[name] for name in above), default=-1)
    return depth
