"""Every file of Pillow's test corpus is either read or rejected with an ImageError; no other exception is raised.

    python benchmarks/pillow_corpus.py [--cache FOLDER]

The corpus is part of Pillow's source distribution (MIT-CMU). The script downloads it once with pip into a folder
outside the repository; it is not part of this package. The exit code is 1 if another exception was raised.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from fieldmark.core.errors import ImageError
from fieldmark.images.reading import probe, read_pixels

PILLOW = "13.0.0"


def corpus(cache: Path) -> list[Path]:
    """Return the files of Tests/images; download and unpack them if needed."""
    folder = cache / f"pillow-{PILLOW}" / "Tests" / "images"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        archive = cache / f"pillow-{PILLOW}.tar.gz"
        if not archive.exists():
            command = [sys.executable, "-m", "pip", "download", "--no-binary", ":all:", "--no-deps"]
            subprocess.run([*command, f"pillow=={PILLOW}", "--dest", str(cache)], check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(archive) as files:
            files.extractall(cache, filter="data")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """Read all files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fieldmark-pillow-corpus")
    parser.add_argument("--each", action="store_true", help="also print every rejected file with its error")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's warnings about its hostile files

    paths = corpus(options.cache)
    outcome: Counter[str] = Counter()
    uncaught: list[str] = []
    slowest = (0.0, "")
    for path in paths:
        started = time.perf_counter()
        try:
            pixels = read_pixels(path)
            probed = probe(path)
            assert pixels.shape == (probed.height, probed.width, 3), path
            outcome["images"] += 1
        except ImageError as error:
            outcome[error.problem] += 1
            if options.each:
                print(f"{error.problem} {error.got}")
        except Exception as error:  # the benchmark counts these
            uncaught.append(f"{path.name}: {type(error).__name__}: {error}")
        slowest = max(slowest, (time.perf_counter() - started, path.name))

    print(f"Pillow {PILLOW}: {len(paths)} files")
    for what, count in outcome.most_common():
        print(f"{count:6}  {what}")
    print(f"{len(uncaught):6}  uncaught")
    for line in uncaught:
        print(f"        {line}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"slowest {slowest[0]:.2f} s ({slowest[1]}), peak memory of the process {peak:.0f} MiB")
    return 1 if uncaught else 0


if __name__ == "__main__":
    raise SystemExit(main())
