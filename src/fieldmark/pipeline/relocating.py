"""Updates the photo folders of a run after its photos were moved."""

from __future__ import annotations

from pathlib import Path

from fieldmark.core.errors import RunError, several
from fieldmark.data.collection import Collection
from fieldmark.pipeline.context import KNOWN, NEW, Context


def note_places(context: Context, *, known: Path | None = None, new: Path | None = None) -> tuple[int, int]:
    """Write the new folders of a run's photos into the run.

    All photos must exist in the new folder, unchanged and with the file names of the run's tables.

    Args:
        context: Run.
        known: New folder of the known photos; None: not moved.
        new: New folder of the new photos; None: not moved.

    Returns:
        The number of known photos and the number of new photos found in their new folder.

    Raises:
        RunError: The folder does not exist, photos are missing or have other sizes, or the run has no new photos.
            The run is not changed then.
    """
    if new is not None and context.new is None:
        raise RunError("--new: this run has no new photos.", got=context.run.path, fix="leave out --new.")
    both = [
        (name, key, Collection.open(context.run.path / name, root=root.absolute()))
        for name, key, root in ((KNOWN, "data", known), (NEW, "new", new))
        if root is not None
    ]
    if missing := [photos.root for _, _, photos in both if not photos.root.is_dir()]:
        raise RunError("The photo folder does not exist.", got=several(missing), fix="give the folder with the photos.")
    for _, key, photos in both:
        _refuse_others(photos, was=context.run.key[key])
    for name, _, photos in both:
        photos.note_root(context.run.path / name)
    found = {name: int(photos.present.sum()) for name, _, photos in both}
    return found.get(KNOWN, 0), found.get(NEW, 0)


def _refuse_others(photos: Collection, *, was: str) -> None:
    """Raise an error if the photos do not have the fingerprint ``was``.

    Raises:
        RunError: Some photos are missing, or their sizes differ.
    """
    if photos.fingerprint() == was:
        return
    if lost := photos.lost():
        raise RunError(
            f"{len(lost):,} of the run's {int(photos.present.sum()):,} photos are not in this folder.",
            got=several(lost),
            fix="give the folder that contains the photos under their old names.",
        )
    raise RunError(
        "The photos in this folder have the right names, but other file sizes than the photos of the run.",
        got=photos.root,
        fix="give a folder with unchanged copies of the photos.",
    )


def refuse_lost(context: Context) -> None:
    """Raise an error if files of the known photos are missing.

    Raises:
        RunError: Some files are missing. The fix is the ``fieldmark relocate`` command.
    """
    if lost := context.known.lost():
        raise RunError(
            f"This run matches keypoints with its known photos, but {len(lost):,} of their files are missing.",
            got=several(lost),
            fix=f"if the photos were moved, run `fieldmark relocate {context.run.path} --photos FOLDER`.",
        )
