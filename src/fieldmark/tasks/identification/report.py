"""The report page and the measures of a run of the identification task."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fieldmark.decisions.unknown_thresholds import curve
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.context import Context
from fieldmark.quality.inspecting import names_given
from fieldmark.reporting.contents import (
    Candidate,
    ConfusedPair,
    Curve,
    Example,
    Fact,
    IdentityIssue,
    RunPage,
    ThresholdScan,
)
from fieldmark.reporting.pages import run_page
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted, percent
from fieldmark.tasks.identification.issues import validation_issues
from fieldmark.tasks.identification.match_pictures import MatchPictures
from fieldmark.tasks.identification.measures import FPIR
from fieldmark.tasks.identification.validation import ValidatedPhotos
from fieldmark.tasks.page_ends import page_end, score_rows

N_EXAMPLES, N_ISSUES = 12, 8
"""Number of example photos of each kind, and of identity issues on the page."""

LEAST_ERROR_PROBA = 0.5
"""Lowest probability of another name at which a photo is listed as an issue."""

RELIABLE = 0.95
"""Lower end of the interval of top-1 (or top-k) from which the summary calls the first name (or the list) reliable."""


def identity_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """Return the measures of a finished run of the identification task, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    validated = ValidatedPhotos(context)
    measures, expected = validated.measured(), validated.expected()
    return measures + expected, run_page(_page(context, validated, measures, expected))


def _page(
    context: Context, validated: ValidatedPhotos, measures: tuple[Measure, ...], expected: tuple[Measure, ...]
) -> RunPage:
    lines = MatchPictures(context)
    best, worst = _examples(validated, lines)
    issues, note = _issues(context, validated, lines)
    return RunPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(validated, measures),
        scores=score_rows(measures),
        scores_note=(
            f"Measured on {counted(len(validated.rows), 'validation photo')} that the network was not trained on. "
            f"95 % intervals over {measures[0].over}. The threshold was chosen on the same photos, so measures that "
            "depend on it are slightly too good."
        ),
        curves=_curves(context),
        threshold=_scan(validated),
        expected=score_rows(expected),
        best=best,
        worst=worst,
        confusions=_confusions(validated),
        issues=issues,
        issues_note=note,
        facts=_facts(context, validated),
        **page_end(context),
    )


def _summary(validated: ValidatedPhotos, measures: tuple[Measure, ...]) -> str:
    """Return the verdict of the page: how good the run is, and what to use it for."""
    found = {one.name: one for one in measures}
    n_known = int((validated.truth >= 0).sum())
    n_new = len(validated.truth) - n_known
    sentences = []
    if n_known:
        first, listed = found["top-1 of known"], found[f"top-{validated.k} of known"]
        sentences.append(
            f"The right name came first for {percent(first.value)} of {counted(n_known, 'validation photo')} of known "
            f"individuals, and was among the first {validated.k} names for {percent(listed.value)}."
        )
        sentences.append(_use(first, listed, validated.k))
    if n_new:
        answered_new = round((1 - found[FPIR].value) * n_new)
        sentences.append(
            f"Of {counted(n_new, 'photo')} of unknown individuals, {answered_new:,} were answered as new and "
            f"{n_new - answered_new:,} with a name (FPIR {percent(found[FPIR].value)})."
        )
    return " ".join(sentences)


def _use(first: Measure, listed: Measure, k: int) -> str:
    """Return one sentence about how to use the answers, by the lower ends of the intervals."""
    if first.low >= RELIABLE:
        return "The first name is reliable; check only surprising answers."
    if listed.low >= RELIABLE:
        return f"Let a person choose among the first {k} names."
    return f"Let a person compare the photos: the right individual may be missing from the first {k} names."


def _curves(context: Context) -> tuple[Curve, ...]:
    """Return loss, metric and learning rate of each network over the epochs.

    For several networks, only curves that can be compared between networks are returned.
    """
    names = [stage.name for stage in context.plan.leaving(Models)]
    histories = [
        (name, k, history) for name in names for k, history in enumerate(context.artifact(Models, name).histories())
    ]
    curves = []
    for stage, k, history in histories:
        prefix = [stage] * (len(names) > 1) + [f"fold{k}"] * (len(histories) > len(names))
        for name in history[0] if history else {}:
            kind = "lr" if name == "lr" else "metric" if "map5" in name else "loss"
            compares = name in {"loss", "lr"} or name.startswith("validation")
            if name in {"phase", "epoch", "update", "images_per_s"} or not (compares or len(names) == 1):
                continue
            rows = [row for row in history if name in row]
            at, value = (np.array([float(row[column]) for row in rows]) for column in ("epoch", name))
            label = name if len(names) == 1 else name.split(" ")[0]
            curves.append(Curve(", ".join([*prefix, label]), kind, at, value))
    return tuple(curves)


def _scan(validated: ValidatedPhotos, *, n_points: int = 120) -> ThresholdScan:
    best = validated.scores.max(axis=1)
    some = best[np.isfinite(best)]  # a photo without candidates is answered as unknown at every threshold
    at = np.unique(np.append(np.quantile(some, np.linspace(0, 1, n_points)) if len(some) else [], validated.unknown_at))
    found = curve(validated.scores, validated.truth, at, k=validated.k)
    return ThresholdScan(
        at=found.at,
        score=found.map_at_k,
        chosen_at=validated.unknown_at,
        share_new=found.share_unknown,
        false_match_rate=found.false_match_rate if (validated.truth == -1).any() else None,
        score_name=f"MAP@{validated.k}",
    )


def _examples(validated: ValidatedPhotos, lines: MatchPictures) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Return the right answers and the wrong answers with the largest margins, each photo with its candidates."""
    confidence: list[tuple[float, int, bool]] = []
    for number, row in enumerate(validated.rows):
        answer = validated.answers[validated.known.images[row]]
        margin = answer[0][1] - (answer[1][1] if len(answer) > 1 else 0.0)
        confidence.append((margin, number, answer[0][0] == validated.name(int(validated.truth[number]))))
    confidence.sort(reverse=True)
    right = [number for _, number, is_right in confidence if is_right and validated.truth[number] >= 0][:N_EXAMPLES]
    wrong = [number for _, number, is_right in confidence if not is_right][:N_EXAMPLES]
    return tuple(_example(validated, lines, n) for n in right), tuple(_example(validated, lines, n) for n in wrong)


def _example(validated: ValidatedPhotos, lines: MatchPictures, number: int) -> Example:
    known, row = validated.known, int(validated.rows[number])
    image, truth = known.images[int(row)], validated.name(int(validated.truth[number]))
    column = {name: place for place, name in enumerate(known.vocabulary.identities)}
    answer = validated.answers[image]
    photos = validated.most_similar(row, [column[name] for name, _ in answer if name in column])
    row_of = {image: row for row, image in enumerate(known.images)}
    return Example(
        image=image,
        truth=truth,
        picture=picture(known, row),
        lines=lines.of(image, answer[0][0]),
        candidates=tuple(
            Candidate(
                name=name,
                score=score,
                is_truth=name == truth,
                is_unknown=name not in column,
                picture=picture(known, row_of[photos[column[name]]]) if column.get(name) in photos else None,
            )
            for name, score in answer
        ),
    )


def _confusions(validated: ValidatedPhotos, *, most: int = 8) -> tuple[ConfusedPair, ...]:
    """Return pairs of known individuals that were confused, the most frequent first."""
    first = {image: answer[0][0] for image, answer in validated.answers.items()}
    pairs = Counter(
        (validated.name(int(truth)), first[validated.known.images[row]])
        for row, truth in zip(validated.rows, validated.truth, strict=True)
        if truth >= 0 and first[validated.known.images[row]] in set(validated.known.vocabulary.identities)
    )
    wrong = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:most]
    row_of: dict[str, int] = {}
    for row, number in enumerate(validated.known.classes.tolist()):
        row_of.setdefault(validated.name(number), row)

    def shown(name: str) -> bytes | None:
        return picture(validated.known, row_of[name])

    return tuple(ConfusedPair(truth, answer, count, shown(truth), shown(answer)) for (truth, answer), count in wrong)


def _issues(
    context: Context, validated: ValidatedPhotos, lines: MatchPictures
) -> tuple[tuple[IdentityIssue, ...], str]:
    """Return validation photos that probably show another individual than the table says, and a note about them."""
    found = [one for one in validation_issues(context) if one.proba >= LEAST_ERROR_PROBA]
    given = dict(zip(validated.known.images, names_given(validated.known), strict=True))
    n_unknown = sum(one.kind == "unknown" for one in found)
    note = (
        f"Keypoints of {counted(len(found), 'validation photo')} match photos with another name. In the table, "
        f"{n_unknown:,} of them are unknown individuals. If a match is right, the table is wrong, and the measures "
        "above count a right answer as a mistake. The command “fieldmark issues” lists more photos and writes a "
        "file for corrections."
    )
    rows = tuple(
        IdentityIssue(one.image, given[one.image], one.label, one.beside, one.proba, lines.of(one.image, one.label))
        for one in found[:N_ISSUES]
    )
    return rows, note


def _facts(context: Context, validated: ValidatedPhotos) -> tuple[Fact, ...]:
    classes = context.known.classes
    counts = np.bincount(classes[classes >= 0], minlength=1)
    return (
        Fact("photos", f"{len(classes):,}", f"{int((classes == -1).sum()):,} of unknown individuals"),
        Fact(
            "individuals",
            f"{int((counts > 0).sum()):,}",
            f"{int((counts == 1).sum()):,} with a single photo; maximum {counted(int(counts.max()), 'photo')}",
        ),
        Fact("validation photos", f"{len(validated.rows):,}", "not used to train the network that answers them"),
        Fact("new photos answered", f"{len(context.new) if context.new else 0:,}", ""),
    )
