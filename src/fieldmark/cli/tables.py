"""The tables and lines that commands print, laid out by rich."""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldmark.cli.terminal import lasts, safe_text

if TYPE_CHECKING:
    from rich.table import Table

    from fieldmark.api.download import Downloaded
    from fieldmark.api.ensembling import EnsembleResult
    from fieldmark.api.lr_find import LrSearch
    from fieldmark.api.overview import RunSummary
    from fieldmark.gallery.symmetry import SymmetryVerdict
    from fieldmark.metrics.measure import Measure
    from fieldmark.pipeline.plan import Plan
    from fieldmark.plans.recipe import Recipe
    from fieldmark.quality.duplicates.finding import NearDuplicates
    from fieldmark.quality.leakage.auditing import Audit
    from fieldmark.reporting.contents import InspectPage
    from fieldmark.tasks.attributes.results import Answered
    from fieldmark.tasks.identification.results import Identification
    from fieldmark.tasks.issues import LabelIssue
    from fieldmark.tasks.tagging.results import Tagged
    from fieldmark.tasks.tagging.tuning import Tuned

WIDTH_IN_FILES = 200
MOST_PROBLEMS = 20
MOST_HOSTS = 10
MOST_LEAKS = 40
MIN_ALTERNATIVE_PROBA = 0.01
"""Smallest probability at which an alternative answer is shown."""


def write_lines(*lines: object) -> None:
    """Print tables and lines of text, without control characters and, in files, without trailing spaces."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if is_terminal else WIDTH_IN_FILES)
    with console.capture() as captured:
        for line in lines:
            if isinstance(line, str):
                # rich would break a long path into two lines, which a user could not copy.
                console.print(safe_text(line), soft_wrap=True)
            else:
                console.print(line)
    text = captured.get()
    sys.stdout.write(text if is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    sys.stdout.flush()


def measures(found: Sequence[Measure], *, of: str | None = None) -> Table:
    """Return the measures of a run: value, interval, what the interval resamples, and meaning."""
    table = new_table("", ">value", ">95 % interval", "over", "", title=of)
    for one in found:
        interval = f"{one.low:.3f} - {one.high:.3f}" if math.isfinite(one.low) and math.isfinite(one.high) else ""
        over = one.over if one.n == one.n_units else f"{one.over} (n = {one.n:,})"
        add_row(table, one.name, f"{one.value:.3f}", interval, over, one.meaning)
    return table


def lr_lines(found: LrSearch) -> Table:
    """Return the loss at some of the tested learning rates, with the planned and the suggested one marked."""
    curve = found.curve
    table = new_table(">learning rate", ">loss", "", title=found.stage)
    n = len(curve.rates)
    shown_at = sorted({round(place * (n - 1) / 12) for place in range(13)}) if n else []
    marks = {int(abs(curve.rates - found.planned).argmin()): "planned"} if n else {}
    if curve.suggested is not None:
        best = int(abs(curve.rates - curve.suggested).argmin())
        marks[best] = f"{marks[best]}; steepest descent" if best in marks else "steepest descent"
    for at in sorted({*shown_at, *marks}):
        add_row(table, f"{curve.rates[at]:.1e}", f"{curve.smoothed[at]:.4g}", marks.get(at, ""))
    if curve.ran_away:
        add_row(table, "", "", "then the loss diverges")
    return table


def downloaded(found: Downloaded) -> list[object]:
    """Return a summary of a download: photos, causes of failures, hosts, and the rate at which addresses are lost."""
    from fieldmark.downloads.causes import CAUSES

    here, tally = found.holdings, found.tally
    counts = f"{tally.n_new:,} new in this run, {tally.n_same:,} unchanged"
    lines: list[object] = [
        f"{here.n_here:,} of {here.n_wanted:,} photos are downloaded ({here.n_bytes / 2**20:,.1f} MiB); {counts}"
    ]
    if here.causes:
        causes = new_table("cause", ">missing photos", "")
        for cause, n in here.causes.items():
            add_row(causes, cause, f"{n:,}", CAUSES[cause].meaning)
        hosts = new_table("host", ">addresses", ">downloaded")
        for host in here.survival.hosts[:MOST_HOSTS]:
            add_row(hosts, host.host, f"{host.n:,}", f"{host.n_here:,}")
        lines += [causes, "", hosts]
    survival = here.survival
    if survival.a_day is not None:
        lines.append(f"addresses lost per day: {100 * survival.a_day:.3g} % ({survival.n_lost:,} lost so far)")
    if here.changed:
        lines.append(f"addresses with another picture than before: {len(here.changed):,}; the first picture is kept")
    if here.duplicates:
        most = f"{len(here.duplicates[0]):,} ids share one picture"
        lines.append(f"pictures with several ids: {len(here.duplicates):,} (at most {most})")
    if found.verdict is not None:
        verdict = found.verdict
        lines.append(
            f"manifest: {verdict.n_same:,} photos match, {len(verdict.other):,} differ, "
            f"{len(verdict.missing):,} are missing"
        )
    return [*lines, f"table: {found.table}", f"page: {found.page}"]


def symmetry_lines(found: SymmetryVerdict) -> list[Table | str]:
    """Return the effect of mirroring on similarity, and its consequence for the settings."""
    table = new_table("mean cosine of two photos", ">unchanged", ">one mirrored")
    add_row(table, "of one individual", f"{found.same:.3f}", f"{found.same_mirrored:.3f}")
    add_row(table, "of different individuals", f"{found.other:.3f}", f"{found.other_mirrored:.3f}")
    means = {
        "other": "Mirrored photos show other individuals: horizontal_flip=other_identity (flip_identity=true).",
        "same": "Mirrored photos show the same individuals: horizontal_flip=same_identity (flip_identity=false).",
        "unsure": "These photos do not show which. Decide from the biology of the species.",
        "blind": "The embeddings do not depend on mirroring. Decide from the biology of the species.",
    }
    lost = found.lost
    # A share of a difference near zero can take any value, and would mislead.
    share = f"{lost.value:.0%} ({lost.low:.0%} to {lost.high:.0%})" if lost.high > 0 else "nothing"
    effect = f"Mirroring removes {share} of the difference between the same and different individuals."
    basis = f"Measured on {found.n_identities:,} individuals with two photos."
    return [table, f"{effect} {basis}", means[found.verdict]]


def identification(one: Identification, *, root: Path) -> Table:
    """Return the ranked candidates for one photo."""
    from fieldmark.tasks.identification.tables import below

    confidence = ""
    if one.known_proba is not None and one.right_proba is not None:
        confidence = f": known {one.known_proba:.0%}, first candidate correct {one.right_proba:.0%}"
    title = safe_text(f"{one.image}{confidence}")
    table = new_table(">", "identity", ">score", "most similar known photo", ">similarity", title=title)
    for match in one.matches:
        identity = f"{match.identity} (unknown individual)" if match.is_new else match.identity
        similar = "" if match.similarity is None or not math.isfinite(match.similarity) else f"{match.similarity:.3f}"
        score = f"{match.score:.3f}" if math.isfinite(match.score) else ""
        add_row(table, str(match.place), identity, score, below(match, root) or "", similar)
    return table


def stages_lines(plan: Plan) -> Table:
    """Return the stages of a plan in their order."""
    table = new_table(">", "stage", "kind", "reads", title=safe_text(plan.name))
    for number, stage in enumerate(plan.stages, start=1):
        add_row(table, str(number), stage.name, stage.kind, ", ".join(stage.reads()))
    return table


def prediction_counts(found: Sequence[Identification] | Sequence[Tagged] | Sequence[Answered]) -> str:
    """Return how many labels, questions or unknown individuals were predicted."""
    from fieldmark.tasks.attributes.results import Answered
    from fieldmark.tasks.identification.results import Identification

    if any(isinstance(one, Answered) for one in found):
        n = sum(len(one.answer) for one in found if isinstance(one, Answered))
        return f"{n:,} applicable questions"
    n_new = [one.is_new for one in found if isinstance(one, Identification)]
    n_given = [len(one.answer) for one in found if not isinstance(one, Identification)]
    return f"{sum(n_given):,} labels assigned" if n_given else f"{sum(n_new):,} of them as unknown individuals"


def ensemble_lines(found: EnsembleResult, *, runs: int, out: Path | None) -> str:
    """Return how many photos an ensemble predicted, and its MAP@k if the runs share validation photos."""
    at = found.decision.threshold
    quality = "" if at.map_at_k is None else f"; MAP@{at.k} on their validation photos {at.map_at_k:.3f}"
    counts = f"{found.n_photos:,} photos predicted by {runs} runs, {found.n_new:,} of them as unknown individuals"
    return f"{counts}{quality}" + ("" if out is None else f": {out}")


def tags(one: Tagged) -> list[object]:
    """Return the name of a photo and its labels by group, the most likely first, with assigned labels marked."""
    table = new_table("group", "label", ">proba", "given")
    for group in sorted({tag.group for tag in one.tags}):
        for tag in (tag for tag in one.tags if tag.group == group):
            label = tag.label.removeprefix(f"{group}::") if group else tag.label
            add_row(table, group, label, f"{tag.proba:.3f}", "yes" if tag.given else "")
    # The name is not the title of the table, because rich would wrap it to the width of this narrow table.
    return [one.image, table]


def replies(one: Answered) -> list[object]:
    """Return the name of a photo, its answers as a tree, and the number of questions that do not apply."""
    table = new_table("question", "answer", ">proba", "alternatives")
    for reply in one.replies:
        if reply.applies:
            others = ", ".join(f"{name} {proba:.2f}" for name, proba in reply.others if proba >= MIN_ALTERNATIVE_PROBA)
            add_row(table, f"{'  ' * reply.depth}{reply.question}", reply.answer, f"{reply.proba:.3f}", others)
    n_inapplicable = sum(not reply.applies for reply in one.replies)
    return [one.image, table, *([f"{n_inapplicable} questions do not apply"] if n_inapplicable else [])]


def issues_lines(found: Sequence[LabelIssue], *, most: int = 20) -> list[object]:
    """Return the first label issues, the most likely errors first."""
    of_names = any(one.beside for one in found)
    last = "similar photo" if of_names else ">error probability"
    table = new_table("photo", "name" if of_names else "label", "issue", ">proba", last)
    for one in found[:most]:
        add_row(
            table,
            one.image,
            one.label,
            one.kind,
            f"{one.proba:.3f}",
            one.beside if of_names else f"{one.label_error_proba:.3f}",
        )
    return [table, *([f"... and {len(found) - most:,} more"] if len(found) > most else [])]


def tuned_lines(found: Sequence[Tuned]) -> Table:
    """Return the rules for label thresholds with their F2 scores."""
    table = new_table("rule", ">F2 fitted", ">F2 cross-fitted", ">95 % interval", "over", ">labels per photo", "")
    best = max(found, key=lambda one: one.honest.value)
    for one in found:
        marks = (["best"] if one is best else []) + (["current"] if one.is_own else [])
        values = (f"{one.as_found.value:.3f}", f"{one.honest.value:.3f}")
        interval = f"{one.honest.low:.3f} - {one.honest.high:.3f}"
        add_row(
            table, one.name, *values, interval, one.honest.over, f"{one.thresholds.mean_labels:.2f}", ", ".join(marks)
        )
    return table


def duplicates_lines(found: NearDuplicates, *, most: int = 10) -> list[object]:
    """Return a summary of near-duplicates: counts, conflicting names, names that may be one individual."""
    from fieldmark.quality.duplicates.pages import duplicate_facts, why

    counts = new_table("", ">", "")
    for fact in duplicate_facts(found):
        add_row(counts, fact.name, fact.value, fact.note)
    lines: list[object] = [counts]
    if found.conflicts:
        conflicts = new_table("photos", "names", "", title="near-duplicates with conflicting names")
        for one in found.conflicts[:most]:
            names = ", ".join(duplicate.name or "-" for duplicate in one.duplicates)
            add_row(conflicts, ", ".join(duplicate.image for duplicate in one.duplicates), names, one.verdict)
        lines.append(conflicts)
        lines += [f"... and {len(found.conflicts) - most:,} more"] if len(found.conflicts) > most else []
    if found.suggested:
        pairs = new_table("name", "name", "reason", title="names that may be one individual")
        for one in found.suggested[:most]:
            add_row(pairs, one.first, one.second, why(one))
        lines.append(pairs)
        lines += [f"... and {len(found.suggested) - most:,} more"] if len(found.suggested) > most else []
    return lines


def leaks(found: Audit, *, everything: bool = False) -> list[object]:
    """Return a summary of a leakage audit: side features with a gain, copies, and a conclusion."""
    from fieldmark.quality.leakage.audit_pages import copied, crossed_parts, facts, summary
    from fieldmark.quality.leakage.auditing import judged

    table = new_table(
        "target", "side feature", ">present", ">baseline", ">predicted", ">gain", ">95 % interval", "verdict"
    )
    informative = [one for one in found.gains if everything or one.verdict != "none"]
    for one in informative[: None if everything else MOST_LEAKS]:
        numbers = (f"{one.blind:.3f}", f"{one.guessed:.3f}", f"{one.gain.value:+.3f}")
        between = f"{one.gain.low:+.3f} to {one.gain.high:+.3f}"
        add_row(
            table, one.target, one.side_feature, f"{one.n_given / one.n_photos:.0%}", *numbers, between, judged(one)
        )
    lines: list[object] = [table] if informative else []
    if not everything and len(informative) > MOST_LEAKS:
        lines.append(f"... and {len(informative) - MOST_LEAKS:,} more")
    shown = {one.side_feature for one in informative}
    others = [name for name in dict.fromkeys(one.side_feature for one in found.gains) if name not in shown]
    lines += [f"no gain: {', '.join(others)}"] if others else []
    lines += [f"{one.name.lower()}: {one.value}{f' ({one.note})' if one.note else ''}" for one in facts(found)]
    return [*lines, *copied(found), *crossed_parts(found), summary(found)]


def recipes_lines(found: Sequence[Recipe[Any]]) -> Table:
    """Return all recipes with their sizes."""
    table = new_table("recipe", "sizes", "description")
    for one in found:
        add_row(table, one.name, _sizes(one), one.about)
    return table


def recipe_lines(one: Recipe[Any]) -> list[object]:
    """Return the description of a recipe, its sizes, and one table of settings per group."""
    from fieldmark.plans.settings import GROUPS

    lines: list[object] = [one.about, f"sizes: {_sizes(one)}"]
    for group in GROUPS:
        table = new_table(f"{group} setting", "default", "values", "description")
        for setting in one.settings.values():
            if setting.group == group:
                about = f"{setting.about} {setting.condition}".rstrip()
                add_row(table, setting.name, setting.otherwise, setting.takes, about)
        lines += ["", table] if table.row_count else []
    return lines


def _sizes(one: Recipe[Any]) -> str:
    return ", ".join(f"{size} (default)" if size == one.size else size for size in one.sizes)


def runs_lines(found: Sequence[RunSummary], *, now: dt.datetime) -> Table:
    """Return one row per run: recipe, finished stages, first measure, age."""
    table = new_table("run", "recipe", ">stages", "result", ">age")
    for one in found:
        result = f"{one.headline[0]} {one.headline[1]:.3f}" if one.headline else "unfinished"
        age = lasts((now - one.began).total_seconds()) if one.began else ""
        add_row(table, str(one.folder), one.recipe, f"{one.n_finished} of {one.n_stages}", result, age)
    return table


def inspection(page: InspectPage) -> list[object]:
    """Return a summary of a data set: its facts, its errors, and names that may be misspelled."""
    facts = new_table("", ">", "", title=safe_text(page.title))
    for fact in page.facts:
        add_row(facts, fact.name, fact.value, fact.note)
    lines: list[object] = [page.summary, facts]
    wrong = [
        (f"{one.file}{f', row {one.row}' if one.row is not None else ''}", one.column, one.problem, one.value)
        for one in page.problems
    ]
    wrong += [(one.file, "", one.reason, "") for one in page.broken]
    if wrong:
        errors = new_table("place", "column", "problem", "value", title="errors to correct before training")
        lines += _first_rows(errors, wrong)
    odd = [(one.label, one.relation, one.other, one.seen) for one in page.odd_names]
    if odd:
        lines += _first_rows(new_table("name", "", "", "", title="names to check"), odd)
    return lines


def _first_rows(table: Table, rows: Sequence[tuple[str, ...]]) -> list[object]:
    """Return the table with its first rows, and a line with the number of rows left out."""
    for cells in rows[:MOST_PROBLEMS]:
        add_row(table, *cells)
    more = len(rows) - MOST_PROBLEMS
    return [table] if more <= 0 else [table, f"... and {more:,} more ({len(rows):,} in all)"]


def new_table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; ``>`` before the name of a column aligns it to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=None if title is None else Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=any(column.strip(">") for column in columns),
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(
            Text(column.removeprefix(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain texts, which are not interpreted as markup."""
    from rich.text import Text

    table.add_row(*(Text(safe_text(cell).replace("\n", "\\n")) for cell in cells))
