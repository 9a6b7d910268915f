"""The page and the numbers of a run that identifies: who is taken for whom, and how surely."""

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
from fieldmark.reporting.wording import counted
from fieldmark.tasks.identification.issues import validation_issues
from fieldmark.tasks.identification.match_pictures import MatchPictures
from fieldmark.tasks.identification.validation import ValidatedPhotos
from fieldmark.tasks.page_ends import page_end, score_rows

N_EXAMPLES, N_ISSUES = 12, 8
LEAST_ERROR_PROBA = 0.5
"""From this probability on a name is told as doubtful."""


def identity_report(context: Context) -> tuple[tuple[Measure, ...], str]:
    """The measures of a finished run that identifies, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    judged = ValidatedPhotos(context)
    measures, expected = judged.seen(), judged.expected()
    return measures + expected, run_page(_page(context, judged, measures, expected))


def _page(
    context: Context, judged: ValidatedPhotos, measures: tuple[Measure, ...], expected: tuple[Measure, ...]
) -> RunPage:
    lines = MatchPictures(context)
    best, worst = _examples(judged, lines)
    issues, note = _issues(context, judged, lines)
    return RunPage(
        title=f"{context.plan.name} on {context.known.name}",
        recipe=context.plan.name,
        summary=_summary(judged, measures),
        scores=score_rows(measures),
        scores_note=(
            f"Measured on {len(judged.rows):,} validation photos that the network has not seen; "
            f"95 % intervals over {measures[0].over}. The threshold was chosen on the same photos."
        ),
        curves=_curves(context),
        threshold=_scan(judged),
        expected=score_rows(expected),
        best=best,
        worst=worst,
        confusions=_confusions(judged),
        issues=issues,
        issues_note=note,
        facts=_facts(context, judged),
        **page_end(context),
    )


def _summary(judged: ValidatedPhotos, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures}
    n_known = int((judged.truth >= 0).sum())
    n_new = len(judged.truth) - n_known
    parts = []
    if n_known:
        parts.append(
            f"Of {n_known:,} validation photos of known individuals the right name came first for "
            f"{value['top-1 of known']:.0%} and among the first {judged.k} for "
            f"{value[f'top-{judged.k} of known']:.0%}."
        )
    if n_new:
        called_new = round((1 - value["false matches"]) * n_new)
        rest = "" if called_new == n_new else "; the rest were given somebody's name"
        parts.append(f"Of {n_new:,} photos of unknown individuals {called_new:,} were called new{rest}.")
    return " ".join(parts)


def _curves(context: Context) -> tuple[Curve, ...]:
    """Loss, metric and learning rate of each network over the epochs; of several networks, only what compares them."""
    names = [stage.name for stage in context.plan.leaving(Models)]
    histories = [
        (name, k, history) for name in names for k, history in enumerate(context.artifact(Models, name).histories())
    ]
    curves = []
    for stage, k, history in histories:
        told = [stage] * (len(names) > 1) + [f"fold{k}"] * (len(histories) > len(names))
        for name in history[0] if history else {}:
            kind = "lr" if name == "lr" else "metric" if "map5" in name else "loss"
            compares = name in {"loss", "lr"} or name.startswith("validation")
            if name in {"phase", "epoch", "update", "images_per_s"} or not (compares or len(names) == 1):
                continue
            rows = [row for row in history if name in row]
            at, value = (np.array([float(row[column]) for row in rows]) for column in ("epoch", name))
            label = name if len(names) == 1 else name.split(" ")[0]
            curves.append(Curve(", ".join([*told, label]), kind, at, value))
    return tuple(curves)


def _scan(judged: ValidatedPhotos, *, n_points: int = 120) -> ThresholdScan:
    best = judged.scores.max(axis=1)
    some = best[np.isfinite(best)]  # a photo without any candidate is new at every threshold
    at = np.unique(np.append(np.quantile(some, np.linspace(0, 1, n_points)) if len(some) else [], judged.unknown_at))
    found = curve(judged.scores, judged.truth, at, k=judged.k)
    return ThresholdScan(
        at=found.at,
        score=found.map_at_k,
        chosen_at=judged.unknown_at,
        share_new=found.share_unknown,
        false_match_rate=found.false_match_rate if (judged.truth == -1).any() else None,
        score_name=f"MAP@{judged.k}",
    )


def _examples(judged: ValidatedPhotos, lines: MatchPictures) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The surest right answers and the surest wrong ones: each query beside its candidates."""
    confidence: list[tuple[float, int, bool]] = []
    for number, row in enumerate(judged.rows):
        answer = judged.answers[judged.known.images[row]]
        margin = answer[0][1] - (answer[1][1] if len(answer) > 1 else 0.0)
        confidence.append((margin, number, answer[0][0] == judged.name(int(judged.truth[number]))))
    confidence.sort(reverse=True)
    right = [number for _, number, is_right in confidence if is_right and judged.truth[number] >= 0][:N_EXAMPLES]
    wrong = [number for _, number, is_right in confidence if not is_right][:N_EXAMPLES]
    return tuple(_example(judged, lines, n) for n in right), tuple(_example(judged, lines, n) for n in wrong)


def _example(judged: ValidatedPhotos, lines: MatchPictures, number: int) -> Example:
    known, row = judged.known, int(judged.rows[number])
    image, truth = known.images[int(row)], judged.name(int(judged.truth[number]))
    column = {name: place for place, name in enumerate(known.vocabulary.identities)}
    answer = judged.answers[image]
    photos = judged.most_similar(row, [column[name] for name, _ in answer if name in column])
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


def _confusions(judged: ValidatedPhotos, *, most: int = 8) -> tuple[ConfusedPair, ...]:
    """Which known individuals were taken for which others, the commonest first."""
    first = {image: answer[0][0] for image, answer in judged.answers.items()}
    pairs = Counter(
        (judged.name(int(truth)), first[judged.known.images[row]])
        for row, truth in zip(judged.rows, judged.truth, strict=True)
        if truth >= 0 and first[judged.known.images[row]] in set(judged.known.vocabulary.identities)
    )
    wrong = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:most]
    row_of: dict[str, int] = {}
    for row, number in enumerate(judged.known.classes.tolist()):
        row_of.setdefault(judged.name(number), row)

    def shown(name: str) -> bytes | None:
        return picture(judged.known, row_of[name])

    return tuple(ConfusedPair(truth, answer, count, shown(truth), shown(answer)) for (truth, answer), count in wrong)


def _issues(context: Context, judged: ValidatedPhotos, lines: MatchPictures) -> tuple[tuple[IdentityIssue, ...], str]:
    """Validation photos that probably show somebody else than the table says, by points, and a sentence about them."""
    found = [one for one in validation_issues(context) if one.proba >= LEAST_ERROR_PROBA]
    given = dict(zip(judged.known.images, names_given(judged.known), strict=True))
    n_unknown = sum(one.kind == "stranger" for one in found)
    note = (
        f"{counted(len(found), 'validation photo')} agree point by point with photos of another name, "
        f"{n_unknown:,} of them unknown individuals in the table: where that is right, the table is wrong, and so are the "
        "measures above that count them as mistakes. The command “fieldmark issues” lists more, for a patch."
    )
    rows = tuple(
        IdentityIssue(one.image, given[one.image], one.label, one.beside, one.proba, lines.of(one.image, one.label))
        for one in found[:N_ISSUES]
    )
    return rows, note


def _facts(context: Context, judged: ValidatedPhotos) -> tuple[Fact, ...]:
    classes = context.known.classes
    counts = np.bincount(classes[classes >= 0], minlength=1)
    return (
        Fact("photos", f"{len(classes):,}", f"{int((classes == -1).sum()):,} of individuals without a name"),
        Fact(
            "individuals",
            f"{int((counts > 0).sum()):,}",
            f"{int((counts == 1).sum()):,} with a single photo; most {counts.max():,}",
        ),
        Fact("validation", f"{len(judged.rows):,}", "photos kept from the network"),
        Fact("new photos answered", f"{len(context.new) if context.new else 0:,}", ""),
    )
