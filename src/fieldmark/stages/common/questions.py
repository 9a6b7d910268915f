"""Questions as networks and trees see them: answers in columns, each a label of its question's group."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.priors import shares
from fieldmark.models.specs import AnswerLayout


def labelled_truth(photos: Collection) -> Float32[np.ndarray, "image answer"]:
    """1 where an answer is right, 0 where it is not, NaN in the columns of a question that is not told of the photo."""
    return np.where(labelled_answers(photos), photos.truth, np.nan).astype(np.float32)


def labelled_answers(photos: Collection) -> Bool[np.ndarray, "image answer"]:
    """Which cells of the truth say anything: the answers of questions that are told of the photo."""
    return photos.told[:, photos.vocabulary.question_of]


def prior_of(photos: Collection) -> Float64[np.ndarray, " answer"]:
    """How common each answer is among the known photos that tell its question; none is 0."""
    return shares(labelled_truth(photos), photos.vocabulary.question_of, smooth=1.0)


def answer_layout(vocabulary: Vocabulary, columns: Int64[np.ndarray, " column"], *, shared: bool) -> AnswerLayout:
    """How the answers in some columns hang together.

    Args:
        vocabulary: With questions.
        columns: Of ``vocabulary.answer_names``: whole questions, in order.
        shared: Whether answers of one name are one label.
    """
    names = vocabulary.every_answer
    place = {column: at for at, column in enumerate(columns.tolist())}
    label: dict[str, int] = {}
    label_of = [label.setdefault(names[column] if shared else str(column), len(label)) for column in place]
    question = np.unique(vocabulary.question_of[columns], return_inverse=True)[1]
    above = parents(vocabulary)
    below = tuple(tuple(place[each] for each in above[column] if each in place) for column in place)
    return AnswerLayout(question_of=tuple(question.tolist()), label_of=tuple(label_of), below=below)


def parents(vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """For each answer (column) the answers (columns) of an earlier question that it may be a kind of."""
    column = {name: at for at, name in enumerate(vocabulary.answer_names)}
    found: list[tuple[int, ...]] = []
    for one in vocabulary.questions:
        if one.below is None:
            found += [()] * len(one.answers)
        else:
            found += [tuple(column[f"{one.below}::{name}"] for name in names) for names in one.parents]
    return found
