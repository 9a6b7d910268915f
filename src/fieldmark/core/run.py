"""The run folder: it holds the results of the finished stages of a plan."""

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
    """A run folder with one sub-folder for each finished stage.

    A stage writes into a hidden work directory (``work_directory``). That directory survives a killed process, so the
    stage can continue. ``finish`` writes the SHA-256 of every file to a receipt and renames the work directory.
    Therefore the folder of a stage is either complete or missing.

    Args:
        path: Path of the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked: set[str] = set()

    @classmethod
    def create(cls, path: Path, *, key: dict[str, Any]) -> RunFolder:
        """Create a run folder, or open it if it holds the same run.

        Args:
            path: Path of the folder. It is created with its parents if it does not exist.
            key: JSON values that identify the run: fingerprints of plan and data, and the seed.

        Raises:
            RunError: The folder holds another run, or files that do not belong to a run.
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
                    fix="give another --run folder, or use the same plan, data and seed to continue this run.",
                )
            return run
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"The folder {path} is not empty and holds no run.",
                got=path,
                fix="give a new or empty folder with --run.",
            )
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        write_json(path / KEY, key)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the run in ``path``.

        Raises:
            RunError: The folder holds no run.
        """
        if not (path / KEY).is_file():
            raise RunError(
                "There is no run in that folder.",
                got=path,
                fix="list the runs below a folder with `fieldmark runs FOLDER`.",
            )
        return cls(path)

    @property
    def key(self) -> dict[str, Any]:
        """The key that ``create`` was called with."""
        return dict(read_json(self.path / KEY))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against other processes. The lock of a killed process is released.

        Raises:
            RunError: Another process uses the run.
        """
        with disk_errors(self.path / ".lock"):
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"Another process uses the run {self.path}.",
                    got=self.path,
                    fix="wait until that process ends, or give another --run folder.",
                ) from error
            yield
        finally:
            os.close(descriptor)

    def done(self, stage: str) -> bool:
        """Whether the stage is finished."""
        return (self.path / stage / RECEIPT).is_file()

    def work_directory(self, stage: str, *, fresh: bool = True) -> Path:
        """The hidden folder in which the stage works. It is emptied first, unless ``fresh`` is False."""
        folder = self.path / f".{stage}.part"
        if fresh and folder.exists():
            shutil.rmtree(folder)
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def finish(self, stage: str, *, receipt: dict[str, Any]) -> None:
        """Rename the work directory to the stage's folder. Its hidden files (checkpoints, caches) are deleted."""
        folder = self.work_directory(stage, fresh=False)
        for path in folder.iterdir():
            if path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / RECEIPT).unlink(missing_ok=True)
        files = {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        write_json(folder / RECEIPT, {**receipt, "files": files})
        publish(folder, self.path / stage)

    def receipt(self, stage: str) -> dict[str, Any]:
        """The receipt of a finished stage: its own values, and the SHA-256 of its files."""
        return dict(read_json(self.path / stage / RECEIPT))

    def stage(self, stage: str) -> Path:
        """The folder of a finished stage. Its files are checked against the receipt once per process.

        Raises:
            RunError: The stage is not finished, or one of its files is missing or damaged.
        """
        folder = self.path / stage
        if not self.done(stage):
            raise RunError(
                f"The run {self.path} has no finished stage '{stage}'.",
                got=", ".join(self.stages()) or "no finished stage",
                fix="run the same `fieldmark train` command again; it continues the run.",
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
