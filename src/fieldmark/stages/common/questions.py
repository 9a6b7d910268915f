"""Questions as matrix columns: each answer is one column, grouped by question."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.priors import shares
from fieldmark.models.specs import AnswerLayout


def labelled_truth(photos: Collection) -> Float32[np.ndarray, "image answer"]:
    """Return the ground truth: 1 for the right answer, 0 for the others, NaN for questions without an answer."""
    return np.where(labelled_answers(photos), photos.truth, np.nan).astype(np.float32)


def labelled_answers(photos: Collection) -> Bool[np.ndarray, "image answer"]:
    """Return which cells of the ground truth are labelled: the columns of questions that the photo's row answers."""
    return photos.has_answer[:, photos.vocabulary.question_of]


def prior_of(photos: Collection) -> Float64[np.ndarray, " answer"]:
    """Return the share of each answer among the photos that have an answer to its question. No share is 0."""
    return shares(labelled_truth(photos), photos.vocabulary.question_of, smooth=1.0)


def answer_layout(vocabulary: Vocabulary, columns: Int64[np.ndarray, " column"], *, shared: bool) -> AnswerLayout:
    """Return the layout of the answers in some columns: question, label and parent answers of each column.

    Args:
        vocabulary: Vocabulary with questions.
        columns: Columns of ``vocabulary.answer_names``: all answers of each question, in order.
        shared: Whether answers with the same name share one label.
    """
    names = vocabulary.every_answer
    place = {column: at for at, column in enumerate(columns.tolist())}
    label: dict[str, int] = {}
    label_of = [label.setdefault(names[column] if shared else str(column), len(label)) for column in place]
    question = np.unique(vocabulary.question_of[columns], return_inverse=True)[1]
    parents_of = parents(vocabulary)
    parent_places = tuple(tuple(place[each] for each in parents_of[column] if each in place) for column in place)
    return AnswerLayout(question_of=tuple(question.tolist()), label_of=tuple(label_of), below=parent_places)


def parents(vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """Return, for each answer column, the columns of its possible parent answers in an earlier question."""
    column = {name: at for at, name in enumerate(vocabulary.answer_names)}
    found: list[tuple[int, ...]] = []
    for one in vocabulary.questions:
        if one.below is None:
            found += [()] * len(one.answers)
        else:
            found += [tuple(column[f"{one.below}::{name}"] for name in names) for names in one.parents]
    return found
