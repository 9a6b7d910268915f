"""Decisions about doubtful labels and names: a list for people to fill, and the small patch file they come back as."""

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
"""A further column of lists of doubtful names: the known photo that speaks for the name."""
PATCH_COLUMNS = ("image", "label", "set")
WORDS: dict[str, bool | None] = {"add": True, "1": True, "remove": False, "0": False, "keep": None}
"""What may stand in ``set`` and ``decision``; "keep" changes nothing."""

_STARTS_A_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Also with apostrophes before it, so that reading can take one away for sure."""


@dataclass(frozen=True)
class LabelDecision:
    """One decision: ``image`` gets ``label`` (or loses it).

    Attributes:
        image: Id of the photo.
        label: Name of the label, or of an individual.
        add: Whether the label is added or removed; of an individual, whether the photo shows it.
        row: Where the decision stands in its file; the header is row 1.
    """

    image: str
    label: str
    add: bool
    row: int = 0


@dataclass(frozen=True)
class Patch:
    """Decisions in the order of their file.

    Attributes:
        changes: At most one for each image and label.
        name: Of the file.
    """

    changes: tuple[LabelDecision, ...]
    name: str = "patch"


def export_issues(path: Path, table: pl.DataFrame, collection: Collection) -> None:
    """Write doubtful labels as CSV with an empty column ``decision`` for a person to fill with add, remove or keep.

    Texts that a spreadsheet would run as a formula get an apostrophe before them; ``read_patch`` takes it away.

    Args:
        path: The file to write.
        table: What ``likely_label_errors`` gave for this collection; of names with a column ``beside``, which is written too.
        collection: Gives the id and file of each row.

    Raises:
        DataError: A column is missing, or a row lies outside the collection.
    """
    lacking = [
        name for name in ("row", "label", "kind", "given", "proba", "label_error_proba") if name not in table.columns
    ]
    outside = [] if lacking else [row for row in table["row"] if not 0 <= row < len(collection)]
    if lacking or outside:
        raise DataError(
            "This is no table of issues of this collection.",
            got=f"columns {', '.join(table.columns)}" if lacking else several([f"row {row}" for row in outside]),
            fix="pass what likely_label_errors() gives for the truth of the same collection.",
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
    """Write decisions as a small CSV with the columns image, label and set (1 adds, 0 removes)."""
    _write(path, PATCH_COLUMNS, ((each.image, each.label, str(int(each.add))) for each in patch.changes))


def read_patch(path: Path) -> Patch:
    """The decisions in a patch, or in a list of issues that somebody filled.

    A patch has the columns image, label and set; a list has image, label and decision (and what ``export_issues``
    wrote beside them). Both take 1 or add, 0 or remove, and keep; an empty decision is not yet made.

    Raises:
        DataError: The file cannot be read, or has mistakes: columns that are missing or unknown, a decision that is
            none, two decisions that contradict each other. All are told, by file, row and column.
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
                mistakes.append(Mistake(path.name, row, column, "is no decision", texts[2], fix))
                continue
            told, before = changes.setdefault(
                (image, label), (WORDS[word], LabelDecision(image, label, WORDS[word] is True, row))
            )
            if told is not WORDS[word]:
                fix = "decide once for each image and label"
                problem = f"contradicts an earlier row about {label!r} of image {image!r} (row {before.row})"
                mistakes.append(Mistake(path.name, row, column, problem, texts[2], fix))
    if mistakes:
        raise _refusal(path.name, mistakes)
    return Patch(tuple(change for told, change in changes.values() if told is not None), path.name)


def apply(patch: Patch, collection: Collection) -> Collection:
    """The collection with the decided labels and names added and removed; its fingerprint changes with them.

    What is so already stays so: a patch may be applied twice. Added labels come after those the image has. A photo has
    one name at most: an added one takes the place of the one it has, and without its name a photo is of nobody known.

    Raises:
        DataError: The collection has neither labels nor names, or the patch names images or labels that it does not
            have, or two individuals for one photo; all are told.
    """
    vocabulary, table = collection.vocabulary, collection.table
    names = set(vocabulary.identities) - set(vocabulary.tags) if "identity" in table.columns else set()
    if "labels" not in table.columns and not names:
        raise DataError(
            "There are no labels to change.",
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
        told = table["identity"].to_list()
        # First what a photo does not show, then what it does.
        for each in sorted((one for one in patch.changes if one.label in names), key=lambda one: one.add):
            row = row_of[each.image]
            is_so = told[row] == each.label
            told[row] = each.label if each.add else vocabulary.unknown if is_so else told[row]
        table = table.with_columns(pl.Series("identity", told, dtype=pl.String))
        kept = set(told)
        left = tuple(name for name in vocabulary.identities if name in kept)
        vocabulary = vocabulary.model_copy(update={"identities": left})
    return replace(collection, table=table, vocabulary=vocabulary)


def _unknown(patch: Patch, collection: Collection, names: Names[str]) -> list[Mistake]:
    """Images and labels that the collection does not have, and second names."""
    vocabulary, images = collection.vocabulary, set(collection.images)
    mistakes, shown = [], dict[str, LabelDecision]()
    for each in patch.changes:
        if each.image not in images:
            fix = "use ids of this collection; spreadsheets drop leading zeros and round long numbers"
            mistakes.append(
                Mistake(patch.name, each.row or None, "image", "is no image of this collection", each.image, fix)
            )
        if each.label not in vocabulary.tags and each.label not in names:
            fix = f"write labels as the vocabulary has them: {_hint(each.label, vocabulary.tags or sorted(names))}"
            mistakes.append(
                Mistake(patch.name, each.row or None, "label", "is no label of this collection", each.label, fix)
            )
        elif each.label in names and each.add and shown.setdefault(each.image, each) is not each:
            problem = f"is a second name for {each.image!r} (row {shown[each.image].row})"
            fix = "add one name for each photo"
            mistakes.append(Mistake(patch.name, each.row or None, "label", problem, each.label, fix))
    return mistakes


def _wrong_columns(name: str, columns: Sequence[str]) -> list[Mistake]:
    """Columns that are missing or unknown."""
    known = {*LIST_COLUMNS, *PATCH_COLUMNS, BESIDE}
    mistakes = [
        Mistake(name, 1, None, "lacks a column", column, "a patch has the columns image, label and set")
        for column in ("image", "label")
        if column not in columns
    ]
    if ("set" in columns) == ("decision" in columns):
        fix = "keep one column with the decisions: set, or decision"
        mistakes.append(Mistake(name, 1, None, "needs either set or decision", ", ".join(columns), fix))
    for column in columns:
        if column not in known:
            fix = f"delete the column, or mend its name: {nearest(column, known)}"
            mistakes.append(Mistake(name, 1, column, "is no column of a patch", column, fix.rstrip(".")))
    return mistakes


def _refusal(name: str, mistakes: Sequence[Mistake]) -> DataError:
    """All mistakes in one error; what to do about each kind once."""
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
    """CSV with a byte-order mark, by which spreadsheets know UTF-8; whole or not at all."""
    lines = [",".join(columns)]
    lines += [",".join(_quoted(_guarded(cell)) for cell in row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, b"\xef\xbb\xbf" + ("\n".join(lines) + "\n").encode(errors="backslashreplace"))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",;\t|\r\n]', text) else text
