"""The report page and the measures of a run of the tagging task."""

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
from fieldmark.tasks.page_ends import page_end, score_rows
from fieldmark.tasks.tagging.marked_photos import added, dropped, examples, label_issue_rows
from fieldmark.tasks.tagging.measures import average_precisions
from fieldmark.tasks.tagging.stage_scores import scores_by_stage
from fieldmark.tasks.tagging.validation import CROSSED, OutOfFoldLabels
from fieldmark.tasks.training_histories import learning_rates, training_histories

MOST_COLUMNS = 25
"""Maximum number of columns of the trees on the page, the most important first."""


RELIABLE_PRECISION = 0.8
"""Precision from which the summary does not call predicted labels mere suggestions."""


def label_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """Return the measures of a finished run of the tagging task, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    oof = OutOfFoldLabels(context)
    measures = oof.measures()
    return measures, labels_page(_page(context, oof, measures))


def _page(context: Context, oof: OutOfFoldLabels, measures: tuple[Measure, ...]) -> LabelsPage:
    best, worst = examples(oof)
    likely_label_errors, issues_note = label_issue_rows(context, oof)
    removed, new_photos = dropped(context, oof), added(context, oof)
    return LabelsPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(oof, measures),
        scores=score_rows(measures),
        scores_note=_scores_note(oof, measures),
        stage_scores=scores_by_stage(context, oof),
        stage_scores_note=(
            "Mean F2 on the known photos, with out-of-fold scores and the best threshold per label group, found on "
            "the photos of the other folds. “Better” and “worse” mean that the whole 95 % interval of the mean "
            f"difference per photo, over {measures[0].over}, lies above or below zero."
        ),
        training_histories=training_histories(context),
        learning_rates=learning_rates(context),
        thresholds=_thresholds(oof),
        thresholds_note=_thresholds_note(oof),
        labels=_labels(oof),
        best=best,
        worst=worst,
        issues=likely_label_errors,
        issues_note=issues_note,
        dropped=removed,
        added=new_photos,
        trees=_trees(context),
        facts=_facts(context, oof, removed, new_photos),
        **page_end(context),
    )


def _summary(oof: OutOfFoldLabels, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures}
    photos = counted(len(oof.known), "photo")
    if "recall" not in value:
        return f"The table of these {photos} has no labels, so the run cannot be measured."
    if "precision" not in value:
        return f"On {photos} that its networks were not trained on, the run predicted no label."
    verdict = (
        f"The run found {100 * value['recall']:.0f} of every 100 labels in the table, on {photos} that its networks "
        f"were not trained on. Of every 100 labels that it predicted, {100 * value['precision']:.0f} are in the table."
    )
    advice = (
        "Use the predicted labels as suggestions for a person to confirm: many of them are not in the table."
        if value["precision"] < RELIABLE_PRECISION
        else "Check the section “Label by label” for labels with a low precision before you use their predictions."
    )
    return f"{verdict} {advice}"


def _scores_note(oof: OutOfFoldLabels, measures: tuple[Measure, ...]) -> str:
    note = (
        f"Measured on all {counted(len(oof.known), 'known photo')}, each scored by networks that were not trained on "
        f"it. 95 % intervals over {measures[0].over}. A label that is missing in the table counts as wrong, even if "
        "the photo shows it. "
    )
    cross_fitted = next((one for one in measures if one.name == CROSSED), None)
    if not oof.fitted_on_labels:
        return note + "The thresholds were not found on the labels of these photos."
    note += "The thresholds were found on the same photos, so the numbers are slightly too good."
    if cross_fitted is None:
        return note
    return note + f" With thresholds found on other photos, mean F2 is {number(cross_fitted.value)}."


def _thresholds(oof: OutOfFoldLabels) -> tuple[ThresholdRow, ...]:
    rows = []
    for name, threshold in oof.thresholds.groups.items():
        members = {oof.names[column] for column in oof.groups[name]}
        own = sum(label in members for label in oof.thresholds.labels)
        rows.append(
            ThresholdRow(
                group=name or ("all labels" if len(oof.groups) == 1 else "other labels"),
                n_labels=len(members),
                at=threshold.at,
                least=threshold.least,
                most=threshold.most,
                note=f"{counted(own, 'label')} with a separate threshold" if own else "",
                scan=LabelThresholdScan(*oof.scan(name), threshold.at),
            )
        )
    return tuple(rows)


def _thresholds_note(oof: OutOfFoldLabels) -> str:
    thresholds = oof.thresholds
    if thresholds.times is not None:
        return (
            "A label is predicted if its probability is above that of the photo's most probable label divided by "
            f"{thresholds.times:g}."
        )
    kinds = {
        "preset": "The thresholds were set in the plan.",
        "global_f2": "One threshold for all labels, chosen for the highest mean F2.",
        "group_f2": "One threshold per label group, chosen together for the highest mean F2.",
        "label_f2": "Thresholds per label group, and per label where enough photos have it, for the highest mean F2.",
        "count_match": "The thresholds were set for a fixed number of labels per photo.",
    }
    return f"{kinds[thresholds.kind]} They predict {thresholds.mean_labels:.2f} labels per photo."


def _labels(oof: OutOfFoldLabels) -> tuple[LabelRow, ...]:
    precisions = average_precisions(oof.proba, oof.truth)
    count, given = oof.truth.sum(axis=0), oof.answer.sum(axis=0)
    found = (oof.truth & oof.answer).sum(axis=0)
    rows = []
    for column, name in enumerate(oof.names):
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
                    n_scored=ceiling["n_judged"],
                )
            )
    return tuple(found)


def _facts(
    context: Context,
    oof: OutOfFoldLabels,
    removed: tuple[DroppedPhotosSection, ...],
    new_photos: tuple[AddedPhotos, ...],
) -> tuple[Fact, ...]:
    count, per_photo = oof.truth.sum(axis=0), oof.truth.sum(axis=1)
    groups = ", ".join(f"{len(columns):,} {name}" for name, columns in oof.groups.items() if name)
    rare = (
        f"{counted(int((count < 10).sum()), 'label')} with fewer than 10 photos; the most frequent has {count.max():,}"
    )
    bare = int((per_photo == 0).sum())
    facts = [
        Fact("photos", f"{len(oof.known):,}", f"{counted(bare, 'photo')} without labels" if bare else ""),
        Fact("labels", f"{len(oof.names):,}", f"{groups}; {rare}" if groups else rare),
        Fact("labels per photo", f"{per_photo.mean():.2f}", f"mean in the table; maximum {per_photo.max():,}"),
        *(Fact(f"removed by {one.stage}", f"{one.n:,}", percent(one.n / len(oof.known))) for one in removed),
        *(Fact(f"added by {one.stage}", one.message) for one in new_photos),
        Fact("new photos answered", f"{len(context.new) if context.new is not None else 0:,}"),
    ]
    return tuple(facts)
