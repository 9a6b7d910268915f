"""The report page and the measures of a run of the attributes task."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fieldmark.core.files import read_json
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.label_contents import LabelsPage, Mark, MarkedPhoto, QuestionRow, ScoreAverageRow, StageScore
from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted, percent
from fieldmark.stages.labels.ensemble_scores import WEIGHTS, EnsembleScores
from fieldmark.stages.labels.texts import Texts
from fieldmark.tasks.attributes.validation import BASELINE_ERROR, ERROR, ERROR_OF, OutOfFoldAnswers
from fieldmark.tasks.page_ends import page_end, score_rows
from fieldmark.tasks.tagging.stage_scores import change_of
from fieldmark.tasks.training_histories import learning_rates, training_histories

N_EXAMPLES = 16
"""Number of example photos with right answers, and with wrong ones."""


def answer_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """Return the measures of a finished run of the attributes task, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    oof = OutOfFoldAnswers(context)
    measures = oof.measures()
    worst, best = _examples(oof)
    page = LabelsPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(oof, measures),
        scores=score_rows(tuple(one for one in measures if not one.name.startswith(ERROR_OF))),
        scores_note=(
            f"Measured on all {counted(len(oof.known), 'known photo')}. Each photo was answered by models that were "
            f"not trained on it. 95 % intervals over {measures[0].over}. Questions without an answer in the table are "
            "not counted."
        ),
        score_name="accuracy",
        stage_scores=_scores_by_stage(oof),
        stage_scores_note=(
            "Accuracy is the share of questions answered right. Each question is decoded separately here, with "
            "out-of-fold probabilities. “Better” and “worse” mean that the whole 95 % interval of the mean "
            f"difference per photo, over {measures[0].over}, lies above or below zero."
        ),
        questions=_questions(oof),
        weights=_weights(context),
        training_histories=training_histories(context),
        learning_rates=learning_rates(context),
        best=best,
        worst=worst,
        facts=_facts(context, oof),
        **page_end(context),
    )
    return measures, labels_page(page)


def _summary(oof: OutOfFoldAnswers, measures: tuple[Measure, ...]) -> str:
    by_name = {one.name: one for one in measures}
    error, baseline = by_name[ERROR], by_name[BASELINE_ERROR]
    verdict = (
        f"The run answered {100 * (1 - error.value):.0f} of every 100 questions right, on "
        f"{counted(len(oof.known), 'photo')} that its models were not trained on. The most frequent answers alone "
        f"would be right for {100 * (1 - baseline.value):.0f} of every 100."
    )
    sentences = [verdict]
    of_question = {one.name.removeprefix(ERROR_OF): one.value for one in measures if one.name.startswith(ERROR_OF)}
    worst = max(of_question, key=lambda name: of_question[name], default=None)
    if error.high >= baseline.low:
        sentences.append("It is not clearly better than the most frequent answers: more labelled photos are needed.")
    elif worst is not None and of_question[worst] > 0:
        sentences.append(
            f"Check answers to “{worst}” by hand first: it has the lowest accuracy, {percent(1 - of_question[worst])}."
        )
    leaks = [column for one in oof.context.plan.stages if isinstance(one, Texts) for column in one.leaks]
    if leaks:
        sentences.append(f"The run also used the columns {', '.join(leaks)}, which other photos may not have.")
    return " ".join(sentences)


def _scores_by_stage(oof: OutOfFoldAnswers) -> tuple[StageScore, ...]:
    stage_scores: list[StageScore] = []
    before: np.ndarray | None = None
    for stage in oof.context.plan.leaving(LabelScores):
        rights = oof.rights(oof.scores(stage.name))
        labelled = np.isfinite(rights)
        found = interval(rights[labelled], trials=int(labelled.sum()), groups=oof.known.groups[labelled])
        change = None
        if before is not None:
            change = change_of((rights - before)[labelled], oof.known.groups[labelled])
        message = oof.context.said(stage.name)
        row = StageScore(stage.name, found.value, found.low, found.high, change, (_inputs(stage),), message)
        stage_scores.append(row)
        before = rights
    return tuple(stage_scores)


def _inputs(stage: object) -> str:
    """Return the inputs of a stage in a few words."""
    if isinstance(stage, Texts):
        return f"text columns: {', '.join((*stage.columns, *stage.leaks))}"
    if isinstance(stage, EnsembleScores):
        return f"weighted average of {' and '.join(stage.reads_from)} ({stage.by.kind.replace('_', ' ')})"
    kind = getattr(stage, "kind", "")
    return "boosted trees on the scores of all models" if kind == "stack" else "networks on the image"


def _questions(oof: OutOfFoldAnswers) -> tuple[QuestionRow, ...]:
    """Return each question with its error, the error of the baseline, and its most frequent mistake."""
    rows, vocabulary = [], oof.vocabulary
    names = vocabulary.every_answer
    for number, question in enumerate(vocabulary.questions):
        mine = oof.labelled[:, number]
        if not mine.any():
            continue
        columns = np.flatnonzero(vocabulary.question_of == number)
        truth, answer, right = oof.truth[mine], oof.answer[mine, number], oof.right[mine, number]
        wrong = np.flatnonzero(~right)
        confused = ""
        if len(wrong):
            pairs = np.stack([truth[np.ix_(wrong, columns)].argmax(axis=1) + columns[0], answer[wrong]])
            unique, count = np.unique(pairs, axis=1, return_counts=True)
            first, second = unique[:, count.argmax()]
            confused = f"{names[first]} answered as {names[second]} ({counted(int(count.max()), 'time')})"
        parent = question.below or (question.applies.question if question.applies is not None else "")
        rows.append(
            QuestionRow(
                name=question.name,
                n_answers=len(question.answers),
                n=int(mine.sum()),
                error=float(1 - right.mean()),
                baseline_error=float(1 - truth[:, columns].mean(axis=0).max()),
                confused=confused,
                parent=parent,
            )
        )
    return tuple(rows)


def _weights(context: Context) -> tuple[ScoreAverageRow, ...]:
    names = [one.name for one in context.known.vocabulary.questions]
    found = []
    for stage in context.plan.stages:
        if isinstance(stage, EnsembleScores) and len(stage.reads_from) > 1:
            weights = np.array(read_json(context.folder(stage.name) / WEIGHTS)["weights"])
            rows = tuple((name, tuple(weights[:, at].tolist())) for at, name in enumerate(names))
            found.append(ScoreAverageRow(stage.name, stage.reads_from, rows))
    return tuple(found)


def _examples(oof: OutOfFoldAnswers) -> tuple[tuple[MarkedPhoto, ...], tuple[MarkedPhoto, ...]]:
    """Return the photos with the most wrong answers, and those with the most right answers.

    Photos with equal numbers are sorted by confidence, highest first. Each group of photos gives one example.
    """
    chosen = np.take_along_axis(oof.proba, oof.answer, axis=1)
    wrong, right = oof.labelled & ~oof.right, oof.labelled & oof.right
    worst = np.lexsort((-(chosen * wrong).sum(axis=1), -wrong.sum(axis=1)))
    best = np.lexsort((-(chosen * right).sum(axis=1), wrong.sum(axis=1), -right.sum(axis=1)))
    worst, best = worst[wrong[worst].any(axis=1)], best[right[best].any(axis=1)]
    return tuple(_shown(oof, worst)), tuple(_shown(oof, best))


def _shown(oof: OutOfFoldAnswers, rows: np.ndarray) -> Iterable[MarkedPhoto]:
    known, shown_groups = oof.known, set[int]()
    for row in rows.tolist():
        if len(shown_groups) == N_EXAMPLES:
            return
        if int(known.groups[row]) not in shown_groups:
            shown_groups.add(int(known.groups[row]))
            labelled = oof.labelled[row]
            note = f"{int((oof.right[row] & labelled).sum())} of {int(labelled.sum())} right"
            yield MarkedPhoto(known.images[row], picture(known, row), _marks(oof, row), note)


def _marks(oof: OutOfFoldAnswers, row: int) -> tuple[Mark, ...]:
    """Return wrong answers of a photo, each followed by the right ones, then its right answers."""
    names, marks, right = oof.vocabulary.answer_names, [], []
    for number in np.flatnonzero(oof.labelled[row]).tolist():
        column = int(oof.answer[row, number])
        proba = float(oof.proba[row, column])
        if oof.right[row, number]:
            right.append(Mark(names[column], "right", proba))
            continue
        marks.append(Mark(names[column], "extra", proba))
        true = np.flatnonzero(oof.truth[row] & (oof.vocabulary.question_of == number)).tolist()
        marks += [Mark(names[each], "missed", float(oof.proba[row, each])) for each in true]
    return (*marks, *right)


def _facts(context: Context, oof: OutOfFoldAnswers) -> tuple[Fact, ...]:
    vocabulary, labelled = oof.vocabulary, oof.labelled
    several = int((oof.truth.sum(axis=1) > labelled.sum(axis=1)).sum())
    labels = len({answer for one in vocabulary.questions for answer in one.answers})
    gone = int((~context.new.present).sum()) if context.new is not None and len(context.new) else 0
    return (
        Fact("photos", f"{len(oof.known):,}", f"{counted(several, 'photo')} with several right answers to a question"),
        Fact(
            "questions", f"{len(vocabulary.questions):,}", f"mean {labelled.sum(axis=1).mean():.1f} labelled per photo"
        ),
        Fact("answers", f"{len(vocabulary.answer_names):,}", f"{labels:,} distinct labels"),
        Fact("labelled", percent(float(labelled.mean())), "of all pairs of photo and question"),
        Fact(
            "new photos answered",
            f"{len(context.new) if context.new is not None else 0:,}",
            f"{counted(gone, 'photo')} missing, answered without the image" if gone else "",
        ),
    )
