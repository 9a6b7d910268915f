"""Claim: ``fieldmark download`` fetches every available photo, reports true causes, and loses nothing in three kills.

Run ``OMP_NUM_THREADS=1 python benchmarks/download.py`` (needs the extra ``download``; ``--peer PYTHON`` names the
interpreter of an environment with img2dataset). A local server in its own process simulates 10,000 URLs. A known share
of them is bad: gone, web pages, truncated, failing once or twice, very slow, redirect loops, too large, not an image,
changed at the second request. The photos are drawn JPEGs of 640 x 480 and 69 KB, like photos on the web (``--width
288``: thumbnails of 16 KB): 300 different contents under 10,000 ids, generated before the first request.

The script prints the result of the first run, each cause against the server's plan, the requests of a second run, the
changes that ``--again all`` finds, and the photos per CPU-second of the client (with start-up, decoding, hashing and
flushing to disk). It then repeats this with three ``kill -9``, and prints the same numbers for img2dataset at the same
concurrency. Nothing is deleted before the end, because ext4 creates files twenty times more slowly for minutes after
many deletions. Let Python write its bytecode (no PYTHONDONTWRITEBYTECODE), as for an installed package.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

SERVER = Path(__file__).parents[1] / "tests" / "downloads"
N_CONTENTS = 300
SHARES = {
    "missing": 0.03,
    "gone": 0.005,
    "soft": 0.02,
    "truncated": 0.01,
    "short": 0.005,
    "flaky": 0.02,
    "flakier": 0.02,
    "drip": 0.01,
    "loop_": 0.005,
    "large": 0.005,
    "liar": 0.01,
    "changed": 0.01,
    "away": 0.02,
}
"""Share of each kind among all URLs; the rest are good."""
CAUSE = {
    "missing": "not_found",
    "gone": "gone",
    "soft": "web_page",
    "truncated": "truncated",
    "short": "truncated",
    "drip": "too_slow",
    "loop_": "redirect_loop",
    "large": "too_large",
    "liar": "not_a_picture",
}
TIMEOUT_S = 30.0


def photo(number: int, width: int) -> bytes:
    return _drawn(number % N_CONTENTS, width)


@cache
def _drawn(content: int, width: int) -> bytes:
    chance, height = np.random.default_rng(content), width * 3 // 4
    coarse = Image.fromarray(chance.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    noisy = np.asarray(coarse) + chance.normal(0, 9, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def plan(n: int) -> list[str]:
    """Return the kind of each URL, the same for all clients."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * n))]
    kinds += ["ok"] * (n - len(kinds))
    return np.random.default_rng(0).permutation(kinds).tolist()


@contextmanager
def web(folder: Path, kinds: list[str], width: int):
    """Start a server; yield its port and the table of URLs."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--width", str(width)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int((server.stdout or io.StringIO()).readline())
        table = folder / f"photos-{port}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("image", "url"))
            for number, kind in enumerate(kinds):
                at = number % 2 if kind in {"loop_", "away"} else number
                query = f"?{number}" if kind in {"loop_", "away"} else ""
                writer.writerow((f"{number:05d}", f"http://127.0.0.1:{port}/{kind}/{at}.jpg{query}"))
        yield port, table
    finally:
        server.kill()
        server.wait()


def requests_of(port: int) -> Counter[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/asked.json") as answer:
        return Counter(json.load(answer))


def cost(command: list[str]) -> tuple[float, float, str]:
    """Return CPU seconds, wall seconds and the output of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, time.monotonic() - began, done.stdout + done.stderr


def ours(table: Path, out: Path, at_once: int, *more: str) -> list[str]:
    limits = ["--at-once", str(at_once), "--per-host", str(at_once), "--timeout", *[str(TIMEOUT_S)] * 3]
    settings = [*limits, "--max-mb", "2", "--allow-private", "--workers", "1"]
    return [sys.executable, "-m", "fieldmark", "download", str(table), "--out", str(out), *settings, *more]


def states(out: Path) -> dict[str, tuple[str, str | None]]:
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        return {image: (state, cause) for image, state, cause in db.execute("SELECT image, state, cause FROM address")}


def report(out: Path, kinds: list[str]) -> None:
    """Print downloaded and missing photos, against the plan."""
    found, wrong = states(out), Counter()
    n_here = sum(state == "done" for state, _ in found.values())
    n_had = sum(kind not in CAUSE for kind in kinds)
    for number, kind in enumerate(kinds):
        state, cause = found[f"{number:05d}"]
        if (state == "done") != (kind not in CAUSE) or (kind in CAUSE and cause != CAUSE[kind]):
            wrong[f"{kind} recorded as {state} {cause}"] += 1
    print(
        f"  downloaded: {n_here:,} of {n_had:,} available; other causes than planned: {dict(wrong) or 'none'}",
        flush=True,
    )


def whole(folder: Path, kinds: list[str], at_once: int, width: int) -> None:
    with web(folder, kinds, width) as (port, table):
        out = folder / "ours"
        cpu_s, wall_s, _ = cost(ours(table, out, at_once))
        n_here = sum(state == "done" for state, _ in states(out).values())
        print(f"first run: {cpu_s:.1f} CPU-s, {wall_s:.0f} s, {n_here / cpu_s:,.0f} photos per CPU-second")
        report(out, kinds)
        before = requests_of(port)
        cpu_s, wall_s, _ = cost(ours(table, out, at_once))
        again = Counter(name.partition("/")[0] for name in requests_of(port) - before)
        print(f"second run: {cpu_s:.1f} CPU-s, {wall_s:.0f} s; requests of these kinds: {dict(again)}")
        report(out, kinds)
        cpu_s, wall_s, output = cost(ours(table, out, at_once, "--again", "all"))
        changed = next((line for line in output.splitlines() if "another picture" in line), "no change found")
        print(f"--again all: {cpu_s:.1f} CPU-s, {wall_s:.0f} s; {changed} (planned: {kinds.count('changed'):,})")


def killed(folder: Path, kinds: list[str], at_once: int, width: int, n_kills: int) -> None:
    with web(folder, kinds, width) as (port, table):
        out, lost, again = folder / "killed", 0, 0
        safe: dict[str, int] = {}
        for number in range(1, n_kills + 1):
            process = subprocess.Popen(ours(table, out, at_once), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(list((out / "photos").glob("*/*"))) < len(kinds) * number // (n_kills + 1):
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            counts, files = requests_of(port), {path.stem for path in (out / "photos").glob("*/*")}
            lost += len(safe.keys() - files)
            again += sum(counts[_name(image, kinds)] > n for image, n in safe.items())
            safe = {image: counts[_name(image, kinds)] for image in files}
            print(f"  kill {number}: {len(files):,} photos in place, {len(list((out / '.aside').glob('*'))) - 1} aside")
        cost(ours(table, out, at_once))
        counts, files = requests_of(port), {path.stem for path in (out / "photos").glob("*/*")}
        lost += len(safe.keys() - files)
        again += sum(counts[_name(image, kinds)] > n for image, n in safe.items())
        print(f"after {n_kills} kills: {lost} complete photos lost, {again} requested again")
        report(out, kinds)


def _name(image: str, kinds: list[str]) -> str:
    """Return the server's name of a URL. Redirects share one name and all end at photo 0, so they are left out."""
    kind = kinds[int(image)]
    return "none" if kind == "away" or int(image) == 0 else f"{kind}/{int(image)}"


PEER = """
import sys, img2dataset
img2dataset.download(url_list=sys.argv[1], input_format="csv", url_col="url", save_additional_columns=["image"],
    output_folder=sys.argv[2], output_format="files", resize_mode="no", processes_count=1,
    thread_count=int(sys.argv[3]), retries=2, timeout=int(sys.argv[4]), compute_hash="sha256",
    number_sample_per_shard=10000,
    disable_all_reencoding=sys.argv[5] == "raw", enable_wandb=False, incremental_mode="incremental")
"""


def peer(folder: Path, kinds: list[str], at_once: int, width: int, python: str, ways: list[str]) -> None:
    for how in ways:
        with web(folder, kinds, width) as (port, table):
            out = folder / f"peer-{how}"
            command = [python, "-c", PEER, str(table), str(out), str(at_once), str(int(TIMEOUT_S)), how]
            for run in ("first run", "second run"):
                before = requests_of(port)
                cpu_s, wall_s, _ = cost(command)
                files = list(out.rglob("*.jpg"))
                n_whole = sum(_is_whole(path) for path in files)
                rate = f", {n_whole / cpu_s:,.0f} photos per CPU-second" if run == "first run" else ""
                n_requests = (requests_of(port) - before).total()
                print(f"img2dataset, {how}, {run}: {cpu_s:.1f} CPU-s, {wall_s:.0f} s{rate}", flush=True)
                print(
                    f"  {len(files):,} files, {n_whole:,} of them complete photos; {n_requests:,} requests", flush=True
                )


def _is_whole(path: Path) -> bool:
    try:
        Image.open(path).load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="number of URLs")
    parser.add_argument("--width", type=int, default=640, help="of a photo, in pixels; its height is three quarters")
    parser.add_argument("--at-once", type=int, default=64, help="number of concurrent requests, for both clients")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--peer", help="a python with img2dataset")
    parser.add_argument("--peer-ways", nargs="+", choices=["decoded", "raw"], default=["decoded", "raw"])
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--only", choices=["whole", "killed", "peer"])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    sys.path.insert(0, str(SERVER))
    if chosen.serve:
        from server import BadWeb

        for content in range(N_CONTENTS):
            photo(content, chosen.width)  # drawn before the first request
        BadWeb(partial(photo, width=chosen.width), patience_s=60.0).serve()
    folder, kinds = Path(tempfile.mkdtemp(prefix="fieldmark-download-", dir=chosen.folder)), plan(chosen.n)
    mean_kb = np.mean([len(photo(number, chosen.width)) for number in range(N_CONTENTS)]) / 1000
    print(f"{chosen.n:,} URLs, {mean_kb:.1f} kB per photo: {dict(Counter(kinds).most_common())}", flush=True)
    if chosen.only in {None, "whole"}:
        whole(folder, kinds, chosen.at_once, chosen.width)
    if chosen.only in {None, "killed"}:
        killed(folder, kinds, chosen.at_once, chosen.width, chosen.kills)
    if chosen.peer and chosen.only in {None, "peer"}:
        peer(folder, kinds, chosen.at_once, chosen.width, chosen.peer, chosen.peer_ways)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
