"""The verb *settle*: one answer a question."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Int64

from fieldmark.core.files import write_json
from fieldmark.core.spec import Spec
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.priors import estimated_shares, recalibrate
from fieldmark.decisions.settling import Tree, filled, likeliest, settle
from fieldmark.stages.common.questions import prior_of
from fieldmark.stages.job import Job
from fieldmark.stages.labels.cut import ANSWERS
from fieldmark.stages.scored import absent_of, known_proba, new_proba

SETTLED = "question"
"""A column that only answers to questions have."""
SHIFT = "shift.json"


class Settle(Spec):
    """Answer every question about every photo, photos that are gone among them.

    Attributes:
        reads_from: A stage with scores of answers.
        consistent: The likeliest answers that fit together (no skirt below "shoes"), and say which questions do not
            apply; else the likeliest answer to each question by itself.
        shift: New photos may show answers in other shares than the known ones: ``none`` believes they do not,
            ``estimated`` estimates their shares from the new photos' own scores and corrects by them.
    """

    verb: Literal["settle"] = "settle"
    name: str
    reads_from: str
    consistent: bool = True
    shift: Literal["none", "estimated"] = "none"

    def reads(self) -> tuple[str, ...]:
        """The stage with scores."""
        return (self.reads_from,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``answers.parquet``: part, image, question, answer, proba, applies."""
        vocabulary = job.known.vocabulary
        proba = known_proba(job, self.reads_from)
        parts = [answer_table("known", job.known.images, proba, self.settled(proba, vocabulary), vocabulary)]
        n_gone = 0
        if job.new is not None and len(job.new):
            fresh = new_proba(job, self.reads_from)
            gone = absent_of(job, self.reads_from)
            n_gone = int(gone.sum())
            fresh = np.where(gone[:, None], prior_of(job.known), fresh).astype(np.float32)
            fresh = self._shifted(job, folder, fresh)
            parts.append(answer_table("new", job.new.images, fresh, self.settled(fresh, vocabulary), vocabulary))
        pl.concat(parts).write_parquet(folder / ANSWERS)
        told = f"{len(vocabulary.questions)} questions about {len(job.known):,} known"
        return (
            told
            + (f" and {len(job.new):,} new photos" if job.new is not None and len(job.new) else " photos")
            + (f"; {n_gone:,} of them by the commonest answers alone" if n_gone else "")
        )

    def settled(
        self, proba: Float[np.ndarray, "photo answer"], vocabulary: Vocabulary
    ) -> Int64[np.ndarray, "photo question"]:
        """The answer (column) to each question; -2 where it does not apply."""
        return settle(proba, tree_of(vocabulary)) if self.consistent else likeliest(proba, vocabulary.question_of)

    def _shifted(self, job: Job, folder: Path, proba: np.ndarray) -> np.ndarray:
        if self.shift == "none":
            return proba
        question_of = job.known.vocabulary.question_of
        have = prior_of(job.known)
        want = estimated_shares(proba, question_of, have=have, rounds=200)
        names = job.known.vocabulary.answer_names
        write_json(folder / SHIFT, [[name, float(a), float(b)] for name, a, b in zip(names, have, want, strict=True)])
        return recalibrate(proba, question_of, have=have, want=want)


def tree_of(vocabulary: Vocabulary) -> Tree:
    """How the questions hang together, as the settling reads it."""
    return Tree.of(
        [(one.name, one.answers) for one in vocabulary.questions],
        below={
            one.name: (one.below, dict(zip(one.answers, one.parents, strict=True)))
            for one in vocabulary.questions
            if one.below is not None
        },
        applies={
            one.name: (one.applies.question, one.applies.answers)
            for one in vocabulary.questions
            if one.applies is not None
        },
    )


def answer_table(
    part: str, images: list[str], proba: np.ndarray, settled: np.ndarray, vocabulary: Vocabulary
) -> pl.DataFrame:
    """One row a photo and question; a question that does not apply has its likeliest answer all the same."""
    columns = filled(settled, proba, vocabulary.question_of)
    n_photos, n_questions = columns.shape
    names = np.array(vocabulary.every_answer, dtype=object)
    questions = [one.name for one in vocabulary.questions]
    return pl.DataFrame(
        {
            "part": pl.Series([part] * (n_photos * n_questions), dtype=pl.String),
            "image": pl.Series(np.repeat(np.array(images, dtype=object), n_questions).tolist(), dtype=pl.String),
            "question": pl.Series(questions * n_photos, dtype=pl.String),
            "answer": pl.Series(names[columns].ravel().tolist(), dtype=pl.String),
            "proba": pl.Series(np.take_along_axis(proba, columns, axis=1).ravel(), dtype=pl.Float32),
            "applies": pl.Series((settled >= 0).ravel(), dtype=pl.Boolean),
        }
    )
