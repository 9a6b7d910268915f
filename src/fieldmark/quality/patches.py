"""Correct label issues: write a list of issues for a person, read the decisions as a patch, and apply the patch."""

from __future__ import annotations

import re
from collections.abc import Collection as Names
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from fieldmark.core.errors import DataError, nearest, several
from fieldmark.core.files import write_bytes
from fieldmark.data.collection import Collection
from fieldmark.data.mistakes import Mistake
from fieldmark.data.sheets import ROW, read_sheet

LIST_COLUMNS = ("image", "file", "label", "kind", "given", "proba", "label_error_proba", "decision")
BESIDE = "beside"
"""Extra column in lists of identity issues: the known photo most similar to the photo in question."""
PATCH_COLUMNS = ("image", "label", "set")
WORDS: dict[str, bool | None] = {"add": True, "1": True, "remove": False, "0": False, "keep": None}
"""Allowed values of the columns ``set`` and ``decision``; "keep" changes nothing."""

_STARTS_A_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""A cell that a spreadsheet runs as a formula, with or without apostrophes before it."""


@dataclass(frozen=True)
class LabelDecision:
    """One decision: add ``label`` to ``image``, or remove it.

    Attributes:
        image: Id of the photo.
        label: Name of the label or individual.
        add: True to add the label, False to remove it. For an individual: whether the photo shows it.
        row: Row of the decision in its file; the header is row 1.
    """

    image: str
    label: str
    add: bool
    row: int = 0


@dataclass(frozen=True)
class Patch:
    """Decisions, in the order of their file.

    Attributes:
        changes: At most one decision for each image and label.
        name: Name of the file.
    """

    changes: tuple[LabelDecision, ...]
    name: str = "patch"


def export_issues(path: Path, table: pl.DataFrame, collection: Collection) -> None:
    """Write label issues as CSV, with an empty column ``decision`` for a person to fill with add, remove or keep.

    Texts that a spreadsheet would run as a formula get an apostrophe in front. ``read_patch`` removes it.

    Args:
        path: File to write.
        table: Result of ``likely_label_errors`` for this collection. For identities, it may have a column ``beside``,
            which is written too.
        collection: Collection with the id and file of each row.

    Raises:
        DataError: A column is missing, or a row number is outside the collection.
    """
    lacking = [
        name for name in ("row", "label", "kind", "given", "proba", "label_error_proba") if name not in table.columns
    ]
    outside = [] if lacking else [row for row in table["row"] if not 0 <= row < len(collection)]
    if lacking or outside:
        raise DataError(
            "Argument 'table' of export_issues() is not a table of issues of this collection.",
            got=f"columns {', '.join(table.columns)}" if lacking else several([f"row {row}" for row in outside]),
            fix="pass the result of likely_label_errors() for the truth of the same collection.",
        )
    images, files = collection.table["image"], collection.table["file"]
    further = [table[BESIDE].to_list()] if BESIDE in table.columns and (table[BESIDE] != "").any() else []
    rows = (
        (images[row], files[row], label, kind, str(int(given)), f"{proba:.4f}", f"{label_error_proba:.4f}", *beside, "")
        for (row, label, kind, given, proba, label_error_proba), *beside in zip(
            table.select("row", "label", "kind", "given", "proba", "label_error_proba").iter_rows(),
            *further,
            strict=True,
        )
    )
    _write(path, (*LIST_COLUMNS[:-1], *([BESIDE] if further else []), LIST_COLUMNS[-1]), rows)


def write_patch(path: Path, patch: Patch) -> None:
    """Write decisions as CSV with the columns image, label and set (1 adds, 0 removes)."""
    _write(path, PATCH_COLUMNS, ((each.image, each.label, str(int(each.add))) for each in patch.changes))


def read_patch(path: Path) -> Patch:
    """Read the decisions from a patch, or from a list of issues with filled decisions.

    A patch has the columns image, label and set. A list has image, label and decision, and the other columns of
    ``export_issues``. Both allow 1 or add, 0 or remove, and keep. Rows with an empty decision are skipped.

    Raises:
        DataError: The file cannot be read, or it has mistakes: a missing or unknown column, an invalid decision, or
            two decisions that contradict each other. All mistakes are listed by file, row and column.
    """
    sheet = read_sheet(path)
    mistakes = list(sheet.mistakes) or _wrong_columns(path.name, sheet.names)
    changes: dict[tuple[str, str], tuple[bool | None, LabelDecision]] = {}
    if not mistakes:
        column = "set" if "set" in sheet.names else "decision"
        for row, *texts in sheet.table.select(ROW, "image", "label", column).iter_rows():
            image, label = (_unguarded(text) for text in texts[:2])
            word = texts[2].strip().casefold()
            if not word and column == "decision":
                continue
            if word not in WORDS:
                fix = f"write one of {', '.join(WORDS)}"
                mistakes.append(Mistake(path.name, row, column, "is not a decision", texts[2], fix))
                continue
            earlier_add, before = changes.setdefault(
                (image, label), (WORDS[word], LabelDecision(image, label, WORDS[word] is True, row))
            )
            if earlier_add is not WORDS[word]:
                fix = "decide once for each image and label"
                problem = f"contradicts an earlier row about {label!r} of image {image!r} (row {before.row})"
                mistakes.append(Mistake(path.name, row, column, problem, texts[2], fix))
    if mistakes:
        raise _refusal(path.name, mistakes)
    return Patch(tuple(change for add, change in changes.values() if add is not None), path.name)


def apply(patch: Patch, collection: Collection) -> Collection:
    """Return the collection with the labels and names of the patch added and removed. Its fingerprint changes.

    A patch may be applied twice with the same result. Added labels follow the existing labels of an image. A photo
    has at most one name: an added name replaces the existing one, and a photo whose name is removed becomes a photo
    of an unknown individual.

    Raises:
        DataError: The collection has neither labels nor names. Or the patch has an unknown image or label, or two
            individuals for one photo; all mistakes are listed.
    """
    vocabulary, table = collection.vocabulary, collection.table
    names = set(vocabulary.identities) - set(vocabulary.tags) if "identity" in table.columns else set()
    if "labels" not in table.columns and not names:
        raise DataError(
            f"{patch.name} cannot be applied: the collection has neither labels nor names.",
            got=f"columns {', '.join(table.columns)}",
            fix="apply the patch to the collection whose issues were listed.",
        )
    if mistakes := _unknown(patch, collection, names):
        raise _refusal(patch.name, mistakes)
    row_of = {image: row for row, image in enumerate(collection.images)}
    if "labels" in table.columns:
        labels = table["labels"].to_list()
        for each in (one for one in patch.changes if one.label not in names):
            row = row_of[each.image]
            has = labels[row] or []
            if each.add and each.label not in has:
                labels[row] = [*has, each.label]
            elif not each.add and each.label in has:
                labels[row] = [label for label in has if label != each.label]
        table = table.with_columns(pl.Series("labels", labels, dtype=pl.List(pl.String)))
    if names:
        identities = table["identity"].to_list()
        # Removals come first, then additions.
        for each in sorted((one for one in patch.changes if one.label in names), key=lambda one: one.add):
            row = row_of[each.image]
            has_it = identities[row] == each.label
            identities[row] = each.label if each.add else vocabulary.unknown if has_it else identities[row]
        table = table.with_columns(pl.Series("identity", identities, dtype=pl.String))
        kept = set(identities)
        left = tuple(name for name in vocabulary.identities if name in kept)
        vocabulary = vocabulary.model_copy(update={"identities": left})
    return replace(collection, table=table, vocabulary=vocabulary)


def _unknown(patch: Patch, collection: Collection, names: Names[str]) -> list[Mistake]:
    """Return the mistakes of a patch: unknown images, unknown labels, and second names of one photo."""
    vocabulary, images = collection.vocabulary, set(collection.images)
    mistakes, shown = [], dict[str, LabelDecision]()
    for each in patch.changes:
        if each.image not in images:
            fix = "use ids of this collection; spreadsheets drop leading zeros and round long numbers"
            mistakes.append(
                Mistake(patch.name, each.row or None, "image", "is not an image of this collection", each.image, fix)
            )
        if each.label not in vocabulary.tags and each.label not in names:
            fix = f"write labels as in the vocabulary: {_hint(each.label, vocabulary.tags or sorted(names))}"
            mistakes.append(
                Mistake(patch.name, each.row or None, "label", "is not a label of this collection", each.label, fix)
            )
        elif each.label in names and each.add and shown.setdefault(each.image, each) is not each:
            problem = f"is a second name for {each.image!r} (row {shown[each.image].row})"
            fix = "add one name for each photo"
            mistakes.append(Mistake(patch.name, each.row or None, "label", problem, each.label, fix))
    return mistakes


def _wrong_columns(name: str, columns: Sequence[str]) -> list[Mistake]:
    """Return the mistakes about missing or unknown columns."""
    known = {*LIST_COLUMNS, *PATCH_COLUMNS, BESIDE}
    mistakes = [
        Mistake(name, 1, None, "lacks a column", column, "a patch has the columns image, label and set")
        for column in ("image", "label")
        if column not in columns
    ]
    if ("set" in columns) == ("decision" in columns):
        fix = "keep one column for the decisions: set or decision"
        mistakes.append(Mistake(name, 1, None, "needs either set or decision", ", ".join(columns), fix))
    for column in columns:
        if column not in known:
            fix = f"delete the column, or correct its name: {nearest(column, known)}"
            mistakes.append(Mistake(name, 1, column, "is not a column of a patch", column, fix.rstrip(".")))
    return mistakes


def _refusal(name: str, mistakes: Sequence[Mistake]) -> DataError:
    """Return one error with all mistakes, and one fix for each kind of mistake."""
    fixes = dict.fromkeys(mistake.fix for mistake in mistakes)
    return DataError(
        f"{name} has {len(mistakes)} mistake(s).", got=several(mistakes, most=10), fix="; ".join([*fixes][:5]) + "."
    )


def _hint(label: str, known: Sequence[str]) -> str:
    hint = nearest(label, known)
    return (
        hint.rstrip(".")
        if hint.startswith("did")
        else f"there are {len(known)}, such as {known[0]!r}"
        if known
        else "it has none"
    )


def _guarded(text: str) -> str:
    return f"'{text}" if _STARTS_A_FORMULA.match(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _STARTS_A_FORMULA.match(text) else text


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file atomically, with a byte-order mark so that spreadsheets read it as UTF-8."""
    lines = [",".join(columns)]
    lines += [",".join(_quoted(_guarded(cell)) for cell in row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, b"\xef\xbb\xbf" + ("\n".join(lines) + "\n").encode(errors="backslashreplace"))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",;\t|\r\n]', text) else text
