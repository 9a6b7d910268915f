"""Content of the page and the CSV file of a leakage audit."""

from __future__ import annotations

from pathlib import Path

from fieldmark.quality.leakage.auditing import Audit, judged
from fieldmark.quality.leakage.leaks import WORTH, WORTH_TIMES
from fieldmark.quality.leakage.side_columns import meaning
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.reporting.leak_pages import CopyRow, CrossingRow, GainRow, LeaksPage
from fieldmark.reporting.wording import counted

GAINS = (
    *("target", "side_feature", "photos", "with_side_feature", "values"),
    *("blind", "guessed", "gain", "low", "high", "verdict"),
)
"""Columns of the CSV file of gains."""
MOST_LEFT_OUT = 3
"""Maximum number of targets without an audit that are listed with the reason."""


def summary(found: Audit) -> str:
    """Return the result in one or two sentences."""
    if not found.is_leaky:
        return (
            f"No side feature of {found.name} predicts the labels better than chance ({found.n_tried:,} photos tested)."
        )
    side_features = list(dict.fromkeys(one.side_feature for one in found.leaks))
    if side_features:
        words = counted(len(side_features), "side feature predicts", "side features predict")
        words = f"{words} labels without the pictures: {', '.join(side_features)}."
    else:
        words = "No side feature predicts labels."
    return words if not found.crossings else f"{words} Some parts of the table have pictures in common."


def facts(found: Audit) -> tuple[Fact, ...]:
    """Return the counts for the page and the terminal."""
    drawn = f"a random sample of {found.n_photos:,}" if found.n_tried < found.n_photos else ""
    lines = [Fact("Photos tested", f"{found.n_tried:,}", drawn)]
    lines.append(
        Fact("Files read", f"{found.n_files:,}", "headers and metadata, not the pixels" if found.n_files else "")
    )
    if found.n_hashed:
        lines.append(Fact("Photos hashed", f"{found.n_hashed:,}", "only to find copies"))
    if found.left_out:
        listed = [f"{name}: {why}" for name, why in found.left_out[:MOST_LEFT_OUT]]
        rest = len(found.left_out) - len(listed)
        note = "; ".join(listed) + (f"; and {rest} more" if rest else "")
        lines.append(Fact("Labels not audited", f"{len(found.left_out)}", note))
    if found.same_everywhere:
        lines.append(Fact("Constant side features", f"{len(found.same_everywhere)}", ", ".join(found.same_everywhere)))
    return tuple(lines)


def copied(found: Audit) -> list[str]:
    """Return one line for each kind of copy and target: how often the labels of copies agree."""
    return [
        f"{kind}: {one.n_same + one.n_other:,} photos have a copy in other rows; "
        f"{one.gain.target}: {one.n_same:,} equal, {one.n_other:,} different"
        for kind, one in found.copies
    ]


def crossed_parts(found: Audit) -> list[str]:
    """Return one line for each two parts of the table that share pictures."""
    return [
        f"{kind}: {one.n_copied:,} of {one.n_photos:,} photos of {one.part!r} are also in {one.other!r}"
        for kind, one in found.crossings
    ]


def audit_page(found: Audit) -> LeaksPage:
    """Return the content of the page."""
    return LeaksPage(
        title=found.name,
        summary=summary(found),
        facts=facts(found),
        worth=WORTH,
        worth_times=WORTH_TIMES,
        gains=tuple(
            GainRow(
                target=one.target,
                side_feature=one.side_feature,
                meaning=meaning(one.side_feature),
                share_given=one.n_given / one.n_photos if one.n_photos else 0.0,
                blind=one.blind,
                guessed=one.guessed,
                gain=one.gain.value,
                low=one.gain.low,
                high=one.gain.high,
                verdict=judged(one),
                is_leak=one.verdict == "leak",
            )
            for one in found.gains
        ),
        copies=tuple(CopyRow(kind, one.gain.target, one.n_same, one.n_other) for kind, one in found.copies),
        crossings=tuple(
            CrossingRow(kind, one.part, one.other, one.n_photos, one.n_copied) for kind, one in found.crossings
        ),
    )


def write_gains(path: Path, found: Audit) -> None:
    """Write one row for each target and side feature, the largest gain first. Formulas are escaped for spreadsheets."""
    rows = [
        (
            *(one.target, one.side_feature, one.n_photos, one.n_given, one.n_distinct),
            *(round(value, 5) for value in (one.blind, one.guessed, one.gain.value, one.gain.low, one.gain.high)),
            judged(one),
        )
        for one in found.gains
    ]
    write_answers_csv(path, rows, GAINS, for_people=True)
