"""Answers of runs of the attributes task: one answer to each question about a photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.hierarchy import filled
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.predictions import AnsweredPhotos

MOST_OTHERS = 2


@dataclass(frozen=True)
class Reply:
    """The answer to one question.

    Attributes:
        question: Name of the question.
        answer: Predicted answer. If the question does not apply, this is still its most probable answer.
        proba: Probability of the answer, 0 to 1.
        applies: Whether the question applies to the photo.
        depth: Level of the question in the hierarchy: 0 for a question without a parent, 1 for its children.
        others: The next most probable answers, each with its probability.
    """

    question: str
    answer: str
    proba: float
    applies: bool
    depth: int = 0
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Answered:
    """All answers about one photo, in the order of the questions.

    Attributes:
        image: Id of the photo.
        file: Image file.
        replies: One answer per question.
    """

    image: str
    file: Path
    replies: tuple[Reply, ...]

    @property
    def answer(self) -> dict[str, str]:
        """Return the predicted answer to each question that applies."""
        return {one.question: one.answer for one in self.replies if one.applies}


def answered(application: Application, *, most: int | None = None) -> list[Answered]:
    """Return the answers about each photo.

    Args:
        application: The stages of a run, applied to the photos.
        most: Maximum number of other answers listed with each answer; None for 2.
    """
    photos, vocabulary = application.photos, application.context.known.vocabulary
    value: AnsweredPhotos = application.value(application.context.plan.answering().name)
    most = MOST_OTHERS if most is None else most
    best = filled(value.decoded, value.proba, vocabulary.question_of)
    names, depth = vocabulary.every_answer, _depths(vocabulary)
    members = [np.flatnonzero(vocabulary.question_of == q) for q in range(len(vocabulary.questions))]
    found = []
    for row, (image, file) in enumerate(zip(photos.images, photos.paths, strict=True)):
        replies = []
        for number, question in enumerate(vocabulary.questions):
            chosen, columns, proba = int(best[row, number]), members[number], value.proba[row]
            order = columns[np.argsort(-proba[columns], kind="stable")].tolist()
            others = [(names[c], float(proba[c])) for c in order if c != chosen][:most]
            replies.append(
                Reply(
                    question=question.name,
                    answer=names[chosen],
                    proba=float(proba[chosen]),
                    applies=bool(value.decoded[row, number] >= 0),
                    depth=depth[question.name],
                    others=tuple(others),
                )
            )
        found.append(Answered(image, file, tuple(replies)))
    return found


def _depths(vocabulary: Vocabulary) -> dict[str, int]:
    depth: dict[str, int] = {}
    for one in vocabulary.questions:
        parents = [one.below] if one.below is not None else []
        parents += [one.applies.question] if one.applies is not None else []
        depth[one.name] = 1 + max((depth[name] for name in parents), default=-1)
    return depth
