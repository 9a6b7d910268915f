"""The page and the numbers of a run that tags: what it finds, what each stage brought, what to look at again."""

from __future__ import annotations

from fieldmark.core.files import read_json
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.context import Context
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.label_contents import (
    AddedPhotos,
    DroppedPhotosSection,
    LabelRow,
    LabelsPage,
    LabelThresholdScan,
    ThresholdRow,
    TreesSection,
)
from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.wording import counted, number, percent
from fieldmark.stages.labels.stack import CEILING, IMPORTANCE, Stack
from fieldmark.tasks.courses import courses, learning_rates
from fieldmark.tasks.page_ends import page_end, score_rows
from fieldmark.tasks.tagging.ladder import score_ladder
from fieldmark.tasks.tagging.marked_photos import added, dropped, examples, label_issue_rows
from fieldmark.tasks.tagging.measures import average_precisions
from fieldmark.tasks.tagging.validation import CROSSED, OutOfFoldLabels

MOST_COLUMNS = 25
"""Of the trees' columns, the weightiest are shown."""


def label_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """The measures of a finished run that tags, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    judged = OutOfFoldLabels(context)
    measures = judged.measures()
    return measures, labels_page(_page(context, judged, measures))


def _page(context: Context, judged: OutOfFoldLabels, measures: tuple[Measure, ...]) -> LabelsPage:
    best, worst = examples(judged)
    likely_label_errors, issues_note = label_issue_rows(context, judged)
    left_out, taken_in = dropped(context, judged), added(context, judged)
    return LabelsPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(judged, measures),
        scores=score_rows(measures),
        scores_note=_scores_note(judged, measures),
        ladder=score_ladder(context, judged),
        ladder_note=(
            "Mean F2 on the known photos, each judged by networks that have not seen it, with the best threshold of each "
            "group of labels for photos of other folds. “Better” and “worse” where the whole 95 % interval of the mean "
            f"difference, photo by photo, over {measures[0].over} lies on that side of zero."
        ),
        courses=courses(context),
        learning_rates=learning_rates(context),
        thresholds=_thresholds(judged),
        thresholds_note=_thresholds_note(judged),
        labels=_labels(judged),
        best=best,
        worst=worst,
        issues=likely_label_errors,
        issues_note=issues_note,
        dropped=left_out,
        added=taken_in,
        trees=_trees(context),
        facts=_facts(context, judged, left_out, taken_in),
        **page_end(context),
    )


def _summary(judged: OutOfFoldLabels, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures}
    photos = counted(len(judged.known), "photo")
    if "recall" not in value:
        return f"The table of these {photos} has no labels to judge by."
    if "precision" not in value:
        return f"On {photos} that its networks had not seen, the run gave no label at all."
    return (
        f"On {photos} that its networks had not seen, the run found {100 * value['recall']:.0f} of every 100 labels in "
        f"the table, and of every 100 labels that it gave {100 * value['precision']:.0f} are in the table."
    )


def _scores_note(judged: OutOfFoldLabels, measures: tuple[Measure, ...]) -> str:
    note = (
        f"Measured on all {counted(len(judged.known), 'known photo')}, each by networks that have not seen it; 95 % "
        f"intervals over {measures[0].over}. A label that the table lacks counts as wrong even where it is right. "
    )
    honest = next((one for one in measures if one.name == CROSSED), None)
    if not judged.looked:
        return note + "The thresholds were not found on these photos' labels."
    note += "The thresholds were found on these same photos, which flatters the numbers a little"
    if honest is None:
        return note + "."
    return note + f": with thresholds found on other photos, mean F2 is {number(honest.value)}."


def _thresholds(judged: OutOfFoldLabels) -> tuple[ThresholdRow, ...]:
    rows = []
    for name, threshold in judged.thresholds.groups.items():
        members = {judged.names[column] for column in judged.groups[name]}
        own = sum(label in members for label in judged.thresholds.labels)
        rows.append(
            ThresholdRow(
                group=name or ("all labels" if len(judged.groups) == 1 else "other labels"),
                n_labels=len(members),
                at=threshold.at,
                least=threshold.least,
                most=threshold.most,
                note=f"{counted(own, 'label')} with a threshold of its own" if own else "",
                scan=LabelThresholdScan(*judged.scan(name), threshold.at),
            )
        )
    return tuple(rows)


def _thresholds_note(judged: OutOfFoldLabels) -> str:
    thresholds = judged.thresholds
    if thresholds.times is not None:
        return (
            f"Here a label is given where it is above the photo's most probable label divided by {thresholds.times:g}."
        )
    kinds = {
        "preset": "They were given beforehand.",
        "global_f2": "One for all labels, the best for mean F2.",
        "group_f2": "Those that are best for mean F2 together.",
        "label_f2": "Those that are best for mean F2, where it is sure also for single labels.",
        "count_match": "They were set to give a certain number of labels a photo.",
    }
    return f"{kinds[thresholds.kind]} They give {thresholds.mean_labels:.2f} labels a photo."


def _labels(judged: OutOfFoldLabels) -> tuple[LabelRow, ...]:
    precisions = average_precisions(judged.proba, judged.truth)
    count, given = judged.truth.sum(axis=0), judged.answer.sum(axis=0)
    found = (judged.truth & judged.answer).sum(axis=0)
    rows = []
    for column, name in enumerate(judged.names):
        has, gets, right = int(count[column]), int(given[column]), int(found[column])
        rows.append(
            LabelRow(
                name=name,
                count=has,
                given=gets,
                average_precision=float(precisions[column]) if has else None,
                precision=right / gets if gets else None,
                recall=right / has if has else None,
                f2=5 * right / (4 * has + gets) if has else None,
            )
        )
    return tuple(rows)


def _trees(context: Context) -> tuple[TreesSection, ...]:
    found = []
    for stage in context.plan.stages:
        if isinstance(stage, Stack):
            place = context.folder(stage.name)
            columns = [(one["column"], float(one["share"])) for one in read_json(place / IMPORTANCE)]
            columns.sort(key=lambda one: -one[1])
            ceiling = read_json(place / CEILING)
            found.append(
                TreesSection(
                    stage.name,
                    tuple(columns[:MOST_COLUMNS]),
                    len(columns),
                    recall_ceiling=ceiling["recall_ceiling"],
                    n_judged=ceiling["n_judged"],
                )
            )
    return tuple(found)


def _facts(
    context: Context,
    judged: OutOfFoldLabels,
    left_out: tuple[DroppedPhotosSection, ...],
    taken_in: tuple[AddedPhotos, ...],
) -> tuple[Fact, ...]:
    count, a_photo = judged.truth.sum(axis=0), judged.truth.sum(axis=1)
    groups = ", ".join(f"{len(columns):,} {name}" for name, columns in judged.groups.items() if name)
    rare = f"{counted(int((count < 10).sum()), 'label')} with fewer than ten photos; the commonest has {count.max():,}"
    bare = int((a_photo == 0).sum())
    facts = [
        Fact("photos", f"{len(judged.known):,}", f"{counted(bare, 'photo')} without any label" if bare else ""),
        Fact("labels", f"{len(judged.names):,}", f"{groups}; {rare}" if groups else rare),
        Fact("labels a photo", f"{a_photo.mean():.2f}", f"in the table; at most {a_photo.max():,}"),
        *(Fact(f"left out by {one.stage}", f"{one.n:,}", percent(one.n / len(judged.known))) for one in left_out),
        *(Fact(f"taken in by {one.stage}", one.said) for one in taken_in),
        Fact("new photos answered", f"{len(context.new) if context.new is not None else 0:,}"),
    ]
    return tuple(facts)
