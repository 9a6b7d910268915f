"""A run's photos after they were moved: where they lie now is noted in the run."""

from __future__ import annotations

from pathlib import Path

from fieldmark.core.errors import RunError, several
from fieldmark.data.collection import Collection
from fieldmark.pipeline.context import KNOWN, NEW, Context


def note_places(context: Context, *, known: Path | None = None, new: Path | None = None) -> tuple[int, int]:
    """Note where a run's photos lie now; they must be there, whole, under the names that its tables give them.

    Args:
        context: The run.
        known: The folder of the photos that it knows; None: they are where they were.
        new: The folder of the photos it was asked about in training; None: they are where they were.

    Returns:
        How many photos of each kind were found in their new folder.

    Raises:
        RunError: There is no such folder, photos are missing or have other sizes there, or the run has no new photos.
            Nothing is changed then.
    """
    if new is not None and context.new is None:
        raise RunError("That run has no new photos.", got=context.run.path, fix="leave out --new.")
    both = [
        (name, key, Collection.open(context.run.path / name, root=root.absolute()))
        for name, key, root in ((KNOWN, "data", known), (NEW, "new", new))
        if root is not None
    ]
    if nowhere := [photos.root for _, _, photos in both if not photos.root.is_dir()]:
        raise RunError("There is no such folder.", got=several(nowhere), fix="name the folder in which the photos lie.")
    for _, key, photos in both:
        _refuse_others(photos, was=context.run.key[key])
    for name, _, photos in both:
        photos.note_root(context.run.path / name)
    found = {name: int(photos.present.sum()) for name, _, photos in both}
    return found.get(KNOWN, 0), found.get(NEW, 0)


def _refuse_others(photos: Collection, *, was: str) -> None:
    """Refuse photos that are not those of the fingerprint ``was``.

    Raises:
        RunError: Some are missing, or their sizes differ.
    """
    if photos.fingerprint() == was:
        return
    if lost := photos.lost():
        raise RunError(
            f"{len(lost):,} of the run's {int(photos.present.sum()):,} photos are not in that folder.",
            got=several(lost),
            fix="give the folder below which they lie under their old names.",
        )
    raise RunError(
        "Photos of these names are there, but they are not the run's: their sizes in bytes differ.",
        got=photos.root,
        fix="give an unchanged copy of the photos.",
    )


def refuse_lost(context: Context) -> None:
    """Refuse a run some of whose known photos are not where it looks for them.

    Raises:
        RunError: Some are missing; says how to tell where they are.
    """
    if lost := context.known.lost():
        raise RunError(
            f"This run matches points with its known photos, and {len(lost):,} of them are not where they were.",
            got=several(lost),
            fix=f"say where they lie now: `fieldmark relocate {context.run.path} --photos FOLDER`.",
        )
