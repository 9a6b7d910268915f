"""The stage *resolve_hierarchy*: one predicted answer per question, consistent across the hierarchy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.hierarchy import Tree, likeliest, resolve
from fieldmark.decisions.priors import estimated_shares, recalibrate
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.predictions import AnsweredPhotos, QuestionAnswers
from fieldmark.pipeline.artifacts.scores import LabelScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.questions import prior_of


@stage
class ResolveHierarchy(Stage):
    """Predict one answer to every question for every photo, photos without a file included.

    Attributes:
        reads_from: Stage with scores of answers.
        consistent: True: the likeliest consistent set of answers (no "skirt" as a child of "shoes"), which also says
            which questions do not apply. False: the likeliest answer to each question by itself.
        shift: Correction for answer shares of new photos that differ from those of known photos. ``none``: no
            correction. ``estimated``: estimate the shares from the scores of the new photos, and correct the scores.
    """

    output = QuestionAnswers
    kind: Literal["resolve_hierarchy"] = "resolve_hierarchy"
    reads_from: Annotated[str, Ref(LabelScores)]
    consistent: bool = True
    shift: Literal["none", "estimated"] = "none"

    def fit(self, context: Context, folder: Path) -> str:
        """Write the predicted answers for the known photos."""
        known = context.known
        proba = context.artifact(LabelScores, self.reads_from).known(known)
        value = AnsweredPhotos(proba, self.decoded(proba, known.vocabulary))
        QuestionAnswers(folder).write(known.images, value, known.vocabulary)
        return f"{len(known.vocabulary.questions)} questions for {len(known):,} known photos"

    def apply(self, ask: Ask) -> AnsweredPhotos:
        """Return the predicted answers for any photos. Photos without scores get the most common answers."""
        vocabulary = ask.context.known.vocabulary
        scored, prior = ask.value(ScoredPhotos, self.reads_from), prior_of(ask.context.known)
        proba = np.where(scored.absent[:, None], prior, scored.mean.of(vocabulary.tags)).astype(np.float32)
        if self.shift == "estimated" and ask.application.together and len(proba):
            want = estimated_shares(proba, vocabulary.question_of, have=prior, rounds=200)
            proba = recalibrate(proba, vocabulary.question_of, have=prior, want=want)
            if ask.application.own:
                shares = zip(vocabulary.answer_names, prior.tolist(), want.tolist(), strict=True)
                ask.fitted(QuestionAnswers).write_shift(list(shares))
        return AnsweredPhotos(proba, self.decoded(proba, vocabulary))

    def decoded(
        self, proba: Float[np.ndarray, "photo answer"], vocabulary: Vocabulary
    ) -> Int64[np.ndarray, "photo question"]:
        """Return the column of the predicted answer to each question; -2 if the question does not apply."""
        return resolve(proba, tree_of(vocabulary)) if self.consistent else likeliest(proba, vocabulary.question_of)


def tree_of(vocabulary: Vocabulary) -> Tree:
    """Return the hierarchy of the questions: parent question, parent answers, and conditions of each."""
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
