"""The page and the numbers of a run that answers questions: how often it errs, on which question, and on whom."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fieldmark.core.files import read_json
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.label_contents import LabelsPage, Mark, MarkedPhoto, QuestionRow, Rung, ScoreAverageRow
from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted, percent
from fieldmark.stages.labels.ensemble_scores import WEIGHTS, EnsembleScores
from fieldmark.stages.labels.texts import Texts
from fieldmark.tasks.attributes.validation import OutOfFoldAnswers
from fieldmark.tasks.courses import courses, learning_rates
from fieldmark.tasks.page_ends import page_end, score_rows
from fieldmark.tasks.tagging.ladder import change_of

N_EXAMPLES = 16


def answer_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """The measures of a finished run that answers questions, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    judged = OutOfFoldAnswers(context)
    measures = judged.measures()
    worst, best = _examples(judged)
    page = LabelsPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(judged, measures),
        scores=score_rows(tuple(one for one in measures if not one.name.startswith("error of "))),
        scores_note=(
            f"Measured on all {counted(len(judged.known), 'known photo')}, each answered by networks and texts that "
            f"have not seen it; 95 % intervals over {measures[0].over}. What the table does not tell of a photo says "
            "nothing."
        ),
        score_name="share of questions answered rightly",
        ladder=_ladder(judged),
        ladder_note=(
            "The likeliest answer to each question by itself, out of fold. “Better” and “worse” where the whole 95 % "
            f"interval of the mean difference, photo by photo, over {measures[0].over} lies on that side of zero."
        ),
        questions=_questions(judged),
        merges=_merges(context),
        courses=courses(context),
        learning_rates=learning_rates(context),
        best=best,
        worst=worst,
        facts=_facts(context, judged),
        **page_end(context),
    )
    return measures, labels_page(page)


def _summary(judged: OutOfFoldAnswers, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures}
    asked = int(judged.told.sum())
    told = (
        f"Of {asked:,} questions about {counted(len(judged.known), 'photo')} that its networks had not seen, the run "
        f"answered {100 * (1 - value['error']):.0f} of every 100 rightly; without looking, the commonest answers would "
        f"be right for {100 * (1 - value['error without looking']):.0f}."
    )
    leaks = [column for one in judged.context.plan.stages if isinstance(one, Texts) for column in one.leaks]
    return told + (
        f" It was allowed to read {', '.join(leaks)}, which may not be there for other photos." if leaks else ""
    )


def _ladder(judged: OutOfFoldAnswers) -> tuple[Rung, ...]:
    rungs: list[Rung] = []
    before: np.ndarray | None = None
    for stage in judged.context.plan.leaving(LabelScores):
        rights = judged.rights(judged.scores(stage.name))
        told = np.isfinite(rights)
        found = interval(rights[told], trials=int(told.sum()), groups=judged.known.groups[told])
        change = None
        if before is not None:
            change = change_of((rights - before)[told], judged.known.groups[told])
        said = judged.context.said(stage.name)
        rungs.append(Rung(stage.name, found.value, found.low, found.high, change, (_means(stage),), said))
        before = rights
    return tuple(rungs)


def _means(stage: object) -> str:
    if isinstance(stage, Texts):
        return f"what is written: {', '.join((*stage.columns, *stage.leaks))}"
    if isinstance(stage, EnsembleScores):
        return f"{' and '.join(stage.reads_from)}, weighed ({stage.by.kind.replace('_', ' ')})"
    kind = getattr(stage, "kind", "")
    return "boosted trees over all voices" if kind == "stack" else "what networks see"


def _questions(judged: OutOfFoldAnswers) -> tuple[QuestionRow, ...]:
    """Each question with its error, that of not looking, and the answers that are mistaken for each other most."""
    rows, vocabulary = [], judged.vocabulary
    names = vocabulary.every_answer
    for number, question in enumerate(vocabulary.questions):
        mine = judged.told[:, number]
        if not mine.any():
            continue
        columns = np.flatnonzero(vocabulary.question_of == number)
        truth, answer, right = judged.truth[mine], judged.answer[mine, number], judged.right[mine, number]
        wrong = np.flatnonzero(~right)
        confused = ""
        if len(wrong):
            pairs = np.stack([truth[np.ix_(wrong, columns)].argmax(axis=1) + columns[0], answer[wrong]])
            unique, count = np.unique(pairs, axis=1, return_counts=True)
            first, second = unique[:, count.argmax()]
            confused = f"{names[first]} taken for {names[second]} ({int(count.max()):,} times)"
        hung = question.below or (question.applies.question if question.applies is not None else "")
        rows.append(
            QuestionRow(
                name=question.name,
                n_answers=len(question.answers),
                n=int(mine.sum()),
                error=float(1 - right.mean()),
                blind=float(1 - truth[:, columns].mean(axis=0).max()),
                confused=confused,
                hangs_from=hung,
            )
        )
    return tuple(rows)


def _merges(context: Context) -> tuple[ScoreAverageRow, ...]:
    names = [one.name for one in context.known.vocabulary.questions]
    found = []
    for stage in context.plan.stages:
        if isinstance(stage, EnsembleScores) and len(stage.reads_from) > 1:
            weights = np.array(read_json(context.folder(stage.name) / WEIGHTS)["weights"])
            rows = tuple((name, tuple(weights[:, at].tolist())) for at, name in enumerate(names))
            found.append(ScoreAverageRow(stage.name, stage.reads_from, rows))
    return tuple(found)


def _examples(judged: OutOfFoldAnswers) -> tuple[tuple[MarkedPhoto, ...], tuple[MarkedPhoto, ...]]:
    """The photos with most wrong answers, the surest first, and those with most right ones; one of each group."""
    chosen = np.take_along_axis(judged.proba, judged.answer, axis=1)
    wrong, right = judged.told & ~judged.right, judged.told & judged.right
    worst = np.lexsort((-(chosen * wrong).sum(axis=1), -wrong.sum(axis=1)))
    best = np.lexsort((-(chosen * right).sum(axis=1), wrong.sum(axis=1), -right.sum(axis=1)))
    worst, best = worst[wrong[worst].any(axis=1)], best[right[best].any(axis=1)]
    return tuple(_shown(judged, worst)), tuple(_shown(judged, best))


def _shown(judged: OutOfFoldAnswers, rows: np.ndarray) -> Iterable[MarkedPhoto]:
    known, seen = judged.known, set[int]()
    for row in rows.tolist():
        if len(seen) == N_EXAMPLES:
            return
        if int(known.groups[row]) not in seen:
            seen.add(int(known.groups[row]))
            told = judged.told[row]
            note = f"{int((judged.right[row] & told).sum())} of {int(told.sum())} right"
            yield MarkedPhoto(known.images[row], picture(known, row), _marks(judged, row), note)


def _marks(judged: OutOfFoldAnswers, row: int) -> tuple[Mark, ...]:
    """What was answered wrongly (with what would have been right), then what was right."""
    names, marks, right = judged.vocabulary.answer_names, [], []
    for number in np.flatnonzero(judged.told[row]).tolist():
        column = int(judged.answer[row, number])
        proba = float(judged.proba[row, column])
        if judged.right[row, number]:
            right.append(Mark(names[column], "right", proba))
            continue
        marks.append(Mark(names[column], "extra", proba))
        true = np.flatnonzero(judged.truth[row] & (judged.vocabulary.question_of == number)).tolist()
        marks += [Mark(names[each], "missed", float(judged.proba[row, each])) for each in true]
    return (*marks, *right)


def _facts(context: Context, judged: OutOfFoldAnswers) -> tuple[Fact, ...]:
    vocabulary, told = judged.vocabulary, judged.told
    several = int((judged.truth.sum(axis=1) > told.sum(axis=1)).sum())
    labels = len({answer for one in vocabulary.questions for answer in one.answers})
    gone = int((~context.new.present).sum()) if context.new is not None and len(context.new) else 0
    return (
        Fact(
            "photos", f"{len(judged.known):,}", f"{counted(several, 'photo')} with several right answers to a question"
        ),
        Fact(
            "questions", f"{len(vocabulary.questions):,}", f"{told.sum(axis=1).mean():.1f} told of a photo in the mean"
        ),
        Fact("answers", f"{len(vocabulary.answer_names):,}", f"{labels:,} different labels"),
        Fact("told", percent(float(told.mean())), "of all pairs of photo and question"),
        Fact(
            "new photos answered",
            f"{len(context.new) if context.new is not None else 0:,}",
            f"{counted(gone, 'photo')} gone, answered without looking" if gone else "",
        ),
    )
