"""What the page and the table of an audit show."""

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
"""The columns of the table of gains."""
MOST_LEFT_OUT = 3
"""Targets that cannot be audited are told with the reason, up to so many."""


def summary(found: Audit) -> str:
    """The outcome in a sentence or two."""
    if not found.is_leaky:
        return f"No side feature beside the pictures is seen to tell the answers of {found.name} ({found.n_tried:,} photos tried)."
    side_features = list(dict.fromkeys(one.side_feature for one in found.leaks))
    words = f"{counted(len(side_features), 'side_feature tells', 'side_features tell')} answers without a look at the picture"
    words = f"{words}: {', '.join(side_features)}." if side_features else "No side feature tells answers."
    return words if not found.crossings else f"{words} Parts of the table share pictures."


def facts(found: Audit) -> tuple[Fact, ...]:
    """The counts, for the page and for the terminal."""
    drawn = f"drawn by lot from {found.n_photos:,}" if found.n_tried < found.n_photos else ""
    lines = [Fact("Photos tried", f"{found.n_tried:,}", drawn)]
    lines.append(
        Fact("Files read", f"{found.n_files:,}", "headers and notes, not the pictures" if found.n_files else "")
    )
    if found.n_hashed:
        lines.append(Fact("Photos looked at from afar", f"{found.n_hashed:,}", "by their hashes, for copies alone"))
    if found.left_out:
        told = [f"{name}: {why}" for name, why in found.left_out[:MOST_LEFT_OUT]]
        rest = len(found.left_out) - len(told)
        note = "; ".join(told) + (f"; and {rest} more" if rest else "")
        lines.append(Fact("Not asked about", f"{len(found.left_out)}", note))
    if found.same_everywhere:
        lines.append(Fact("The same everywhere", f"{len(found.same_everywhere)}", ", ".join(found.same_everywhere)))
    return tuple(lines)


def copied(found: Audit) -> list[str]:
    """What rows of one picture say of each other, a line each."""
    return [
        f"{kind}: {one.n_same + one.n_other:,} photos can be looked up in other rows; "
        f"{one.gain.target}: {one.n_same:,} as there, {one.n_other:,} otherwise"
        for kind, one in found.copies
    ]


def crossed_parts(found: Audit) -> list[str]:
    """Which parts of the table share pictures, a line each."""
    return [
        f"{kind}: {one.n_copied:,} of {one.n_photos:,} photos of {one.part!r} lie in {one.other!r} too"
        for kind, one in found.crossings
    ]


def audit_page(found: Audit) -> LeaksPage:
    """What the page shows."""
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
    """Write one row for each target and side feature, harmless in a spreadsheet; the largest gain first."""
    rows = [
        (
            *(one.target, one.side_feature, one.n_photos, one.n_given, one.n_distinct),
            *(round(value, 5) for value in (one.blind, one.guessed, one.gain.value, one.gain.low, one.gain.high)),
            judged(one),
        )
        for one in found.gains
    ]
    write_answers_csv(path, rows, GAINS, for_people=True)
