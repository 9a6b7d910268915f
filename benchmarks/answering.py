"""CPU seconds per photo of `fieldmark predict`, without start-up: this checkout, and optionally another one.

``python benchmarks/answering.py RUN TABLE [--beside OTHER/src OTHER_RUN] [--few 20] [--many 120] [--rounds 3]``

``RUN`` is a finished run. ``OTHER_RUN`` is a run of the same plan and photos by the other checkout. ``TABLE`` is a
table of photos with at least ``--many`` rows. Each round predicts the first ``--few`` and the first ``--many`` rows.
The difference in time, divided by the difference in rows, is the cost of one photo.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from fieldmark.data.reading import read

SOURCE = Path(__file__).parents[1] / "src"


def cpu_s(source: Path, run: Path, table: Path) -> float:
    """Return the CPU seconds of one command, with its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["predict", str(run), str(table), "--out", str(table.with_suffix(".out.csv")), "--allow-outside"]
    env = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "fieldmark", *words, "--force"], check=True, env=env, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the median for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--beside", type=Path, nargs=2)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--many", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    photos = read(given.table, labelled=False)
    rows = pl.DataFrame({"image": photos.images, "file": [str(path.resolve()) for path in photos.paths]})
    runs = {SOURCE: given.run, **({given.beside[0]: given.beside[1]} if given.beside else {})}
    found: dict[Path, list[float]] = {source: [] for source in runs}
    with tempfile.TemporaryDirectory() as folder:
        tables = {n: Path(folder) / f"{n}.csv" for n in (given.few, given.many)}
        for n, path in tables.items():
            rows.head(n).write_csv(path)
        for _ in range(given.rounds):
            for source, run in runs.items():
                few, many = (cpu_s(source, run, path) for path in tables.values())
                found[source].append((many - few) / (given.many - given.few))
    for source, values in found.items():
        print(
            f"{source}: {statistics.median(values):.3f} CPU-s per photo ({', '.join(f'{one:.3f}' for one in values)})"
        )


if __name__ == "__main__":
    main()
