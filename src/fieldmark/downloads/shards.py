"""Write photos to tar files for WebDataset: ``ID.jpg`` and ``ID.json`` for each photo; files are written atomically."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from fieldmark.core.files import disk_errors
from fieldmark.downloads.addresses import without_secrets
from fieldmark.downloads.journal import Journal

FOLDER = "shards"


def pack(journal: Journal, *, n_a_shard: int) -> list[Path]:
    """Write all photos that are in no shard to new shards. Existing shards do not change.

    The photos also stay in their folder, which the journal describes.

    Args:
        journal: Journal of the download.
        n_a_shard: Number of photos per shard; the last shard may hold fewer.

    Returns:
        Paths of the new shards.

    Raises:
        RunError: The disk is full or fails.
    """
    columns = "key, image, url, file, sha256, width, height"
    rows = journal.rows(
        f"SELECT {columns} FROM address WHERE state = 'done' AND shard IS NULL AND wanted ORDER BY image"  # noqa: S608 - our own names
    )
    ((n_before,),) = journal.rows("SELECT count(DISTINCT shard) FROM address WHERE shard IS NOT NULL")
    made = []
    for number, start in enumerate(range(0, len(rows), n_a_shard), start=n_before):
        part = rows[start : start + n_a_shard]
        path = journal.folder / FOLDER / f"shard-{number:06d}.tar"
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
            _write(path, part, journal)
        journal.packed(path.name, [row[0] for row in part])
        made.append(path)
    return made


def _write(path: Path, rows: list[tuple], journal: Journal) -> None:
    """Write one shard to a temporary file, flush it and rename it. The bytes depend only on the photos."""
    aside = journal.aside / path.name
    with aside.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for _, image, url, name, sha256, width, height in rows:
                source = Path(name)
                # WebDataset uses everything after the first dot as file extension, so a key must not contain a dot.
                key = source.stem.replace(".", "_") + ("" if "." not in source.stem else f"~{sha256[:8]}")
                about = {
                    "image": image,
                    "url": without_secrets(url),
                    "sha256": sha256,
                    "width": width,
                    "height": height,
                }
                _add(tar, f"{key}{source.suffix}", (journal.folder / name).read_bytes())
                _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
