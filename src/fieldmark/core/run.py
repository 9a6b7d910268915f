"""The run folder: where a plan's stages leave their work, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldmark.core.errors import RunError
from fieldmark.core.files import disk_errors, publish, read_json, sha256, write_json

KEY = "run.json"
RECEIPT = "stage.json"


class RunFolder:
    """A folder with one sub-folder a finished stage.

    A stage works in a hidden folder of its own (``work_directory``), which outlives a kill so that the stage can go on
    where it was. ``finish`` notes every file's SHA-256 in a receipt and renames the work directory into place: a
    stage's folder is therefore whole or not there.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked: set[str] = set()

    @classmethod
    def create(cls, path: Path, *, key: dict[str, Any]) -> RunFolder:
        """A new run, or the same one again.

        Args:
            path: Where; made with its parents if absent.
            key: What makes this run this run (fingerprints of plan and data, seed): JSON values.

        Raises:
            RunError: The folder holds another run, or files that are no run.
        """
        run = cls(path)
        if (path / KEY).exists():
            was = read_json(path / KEY)
            other = [
                f"{name}: {was.get(name)} there, {value} here" for name, value in key.items() if was.get(name) != value
            ]
            if other:
                raise RunError(
                    f"The folder {path} holds another run.",
                    got="\n".join(other),
                    fix="give another --run folder, or use the same plan, data and seed to go on with this one.",
                )
            return run
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path} is in use and holds no run.", got=path, fix="give a new or empty folder with --run."
            )
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        write_json(path / KEY, key)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run that lies in ``path``.

        Raises:
            RunError: No run lies there.
        """
        if not (path / KEY).is_file():
            raise RunError(
                "There is no run in that folder.", got=path, fix="`fieldmark runs` lists the runs below a folder."
            )
        return cls(path)

    @property
    def key(self) -> dict[str, Any]:
        """What ``create`` was given."""
        return dict(read_json(self.path / KEY))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in this run; a killed process leaves no lock behind.

        Raises:
            RunError: Another process works in it.
        """
        with disk_errors(self.path / ".lock"):
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"Another process works in {self.path}.",
                    got=self.path,
                    fix="wait for it, or give another --run folder.",
                ) from error
            yield
        finally:
            os.close(descriptor)

    def done(self, stage: str) -> bool:
        """Whether the stage is finished."""
        return (self.path / stage / RECEIPT).is_file()

    def work_directory(self, stage: str, *, fresh: bool = True) -> Path:
        """The hidden folder the stage works in; emptied first unless it can go on (``fresh=False``)."""
        folder = self.path / f".{stage}.part"
        if fresh and folder.exists():
            shutil.rmtree(folder)
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def finish(self, stage: str, *, receipt: dict[str, Any]) -> None:
        """Make the work directory the stage's folder; hidden files and folders in it (checkpoints, caches) are dropped."""
        folder = self.work_directory(stage, fresh=False)
        for path in folder.iterdir():
            if path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / RECEIPT).unlink(missing_ok=True)
        files = {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        write_json(folder / RECEIPT, {**receipt, "files": files})
        publish(folder, self.path / stage)

    def receipt(self, stage: str) -> dict[str, Any]:
        """What the stage told when it ended, with the SHA-256 of its files."""
        return dict(read_json(self.path / stage / RECEIPT))

    def stage(self, stage: str) -> Path:
        """The finished stage's folder, its files checked against the receipt once a process.

        Raises:
            RunError: The stage is not finished, or a file is missing or damaged.
        """
        folder = self.path / stage
        if not self.done(stage):
            raise RunError(
                f"The run {self.path} has no finished stage '{stage}'.",
                got=", ".join(self.stages()) or "no finished stage",
                fix="run the same `fieldmark train` command again: it goes on where it was.",
            )
        if stage not in self._checked:
            noted = self.receipt(stage)["files"]
            bad = [
                name
                for name, digest in noted.items()
                if not (folder / name).is_file() or sha256(folder / name) != digest
            ]
            if bad:
                raise RunError(
                    f"Files of stage '{stage}' are missing or damaged.",
                    got="\n".join(str(folder / name) for name in bad),
                    fix=f"delete the folder {folder} and run the same `fieldmark train` command again.",
                )
            self._checked.add(stage)
        return folder

    def stages(self) -> list[str]:
        """The names of the finished stages, oldest first."""
        found = [path.parent for path in self.path.glob(f"*/{RECEIPT}")]
        return [folder.name for folder in sorted(found, key=lambda folder: (folder / RECEIPT).stat().st_mtime_ns)]
