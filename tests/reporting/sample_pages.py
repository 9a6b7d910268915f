"""Sample pages with plausible numbers, for tests and for checking their design.

``python tests/reporting/sample_pages.py OUT [DATA]`` writes run.html, inspect.html and the pages of
duplicates, leaks and a download. With DATA (the folder of humpback2018_100px) they show real flukes, else drawn ones.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fieldmark.reporting.contents import (
    Candidate,
    ConfusedPair,
    Cooccurrence,
    Curve,
    DuplicateGroup,
    Example,
    Fact,
    IdentityRow,
    InspectPage,
    LabelCount,
    Problem,
    RunPage,
    ScoreRow,
    SkippedFile,
    StageRow,
    ThresholdScan,
    Tile,
)
from fieldmark.reporting.duplicate_pages import DuplicateSheet, DuplicatesPage, PairSheet, duplicates_page
from fieldmark.reporting.leak_pages import CopyRow, CrossingRow, GainRow, LeaksPage, leaks_page
from fieldmark.reporting.pages import inspect_page, run_page, write_page
from fieldmark.reporting.survival import CauseRow, CheckRow, HostRow, SurvivalPage, survival_page

Photo = tuple[str, str, bytes]
"""Image, identity and picture."""


def drawn_photo(seed: int, *, size: tuple[int, int] = (240, 120), noise: float = 12.0) -> bytes:
    """Draw a tail in front of a sea; a larger ``noise`` gives a larger file."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (70, 95, 110))
    draw = ImageDraw.Draw(image)
    width, height = size
    lobes = [(0.04, 0.3), (0.25, 0.18), (0.46, 0.42), (0.5, 0.34), (0.54, 0.42), (0.75, 0.18), (0.96, 0.3)]
    stem = [(0.58, 0.72), (0.55, 0.95), (0.45, 0.95), (0.42, 0.72)]
    draw.polygon([(x * width, (y + rng.normal(0, 0.02)) * height) for x, y in lobes + stem], fill=(35, 38, 42))
    for x, y in rng.uniform((0.15, 0.3), (0.85, 0.6), (4, 2)):
        draw.ellipse((x * width, y * height, (x + 0.06) * width, (y + 0.06) * height), fill=(205, 210, 208))
    pixels = np.asarray(image, dtype=float) + rng.normal(0, noise, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()


def drawn_photos(n_identities: int = 12, each: int = 3) -> list[Photo]:
    """Return a small collection of drawn tails."""
    return [
        (f"{animal:02}{one}.jpg", f"w_{animal:04x}", drawn_photo(animal))
        for animal in range(n_identities)
        for one in range(each)
    ]


def real_photos(data: Path, *, most: int = 900) -> list[Photo]:
    """Return flukes of humpback2018_100px in their original aspect ratio."""
    photos = []
    with (data / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in list(csv.DictReader(file))[:most]:
            with Image.open(data / row["file"]) as image:
                wide = image.convert("RGB").resize((200, round(200 * int(row["orig_height"]) / int(row["orig_width"]))))
            buffer = io.BytesIO()
            wide.save(buffer, format="JPEG", quality=90)
            photos.append((row["image"], row["identity"], buffer.getvalue()))
    return photos


def _by_identity(photos: list[Photo]) -> dict[str, list[Photo]]:
    owned = defaultdict(list)
    for photo in photos:
        owned[photo[1]].append(photo)
    return dict(owned)


def example(photos: list[Photo], *, seed: int, rank: int | None) -> Example:
    """Return a photo with five candidates, the right one at place ``rank``."""
    rng = np.random.default_rng(seed)
    owned = _by_identity(photos)
    several = sorted(name for name, own in owned.items() if len(own) > 1 and name != "new_whale")
    truth = several[int(rng.integers(len(several)))]
    others = [name for name in sorted(owned) if name not in {truth, "new_whale"}]
    names = [others[place] for place in rng.choice(len(others), 5, replace=False)]
    names[int(rng.integers(1, 4))] = "new_whale"
    if rank is not None:
        names[rank - 1] = truth
    scores = np.sort(rng.uniform(0.05, 0.9, 5))[::-1]
    candidates = tuple(
        Candidate(
            name,
            float(score),
            is_truth=name == truth,
            is_unknown=name == "new_whale",
            picture=None if name == "new_whale" else owned[name][-1][2],
        )
        for name, score in zip(names, scores, strict=True)
    )
    image, _, picture = owned[truth][0]
    return Example(image, truth, picture, candidates)


def sample_run(photos: list[Photo], *, n_examples: int = 40) -> RunPage:
    """Return the page of a plausible run of a humpback recipe."""
    rng = np.random.default_rng(5)
    epochs = np.arange(1, 25, dtype=float)
    at = np.linspace(0, 1, 51)
    half = n_examples // 2
    owned = sorted((name, own) for name, own in _by_identity(photos).items() if name != "new_whale")
    pairs = zip(owned[0:6], owned[6:12], (7, 5, 4, 3, 2, 2), strict=False)
    return RunPage(
        title="Humpback flukes, winter season",
        recipe="humpback-classify · small",
        summary="The right name came first for 61 % of 512 validation photos of known individuals, and was among "
        "the first 5 names for 74 %. Let a person compare the photos: the right individual may be missing from the "
        "first 5 names. Of 230 photos of unknown individuals, 171 were answered as new and 59 with a name (FPIR 26 "
        "%).",
        scores_note="Measured on 742 validation photos that the network was not trained on. 95 % intervals over 544 "
        "groups. The threshold was chosen on the same photos, so measures that depend on it are slightly too good.",
        scores=(
            ScoreRow(
                "MAP@5",
                0.668,
                0.634,
                0.701,
                "mean average precision with unknown individuals; 1 if the right answer is always first",
                "544 groups",
            ),
            ScoreRow(
                "top-1 of known",
                0.612,
                0.577,
                0.647,
                "share of known individuals whose right name comes first",
                "314 groups",
            ),
            ScoreRow(
                "top-5 of known",
                0.741,
                0.709,
                0.772,
                "share of known individuals whose right name is among the first 5 names",
                "314 groups",
            ),
            ScoreRow(
                "FNIR", 0.388, 0.346, 0.431, "share of known individuals not answered with their name", "314 groups"
            ),
            ScoreRow("FPIR", 0.257, 0.203, 0.317, "share of unknown individuals answered with a name", "230 groups"),
            ScoreRow(
                "AUC known/new",
                0.857,
                0.829,
                0.884,
                "probability that a known individual scores higher than an unknown one; 0.5 is chance",
                "544 groups",
            ),
        ),
        expected=(
            ScoreRow(
                "MAP@5, cross-fitted",
                0.661,
                0.627,
                0.695,
                "the threshold for each photo was found on other photos",
                "544 groups",
            ),
            ScoreRow(
                "TPIR at FPIR = 5 %",
                0.391,
                0.342,
                0.441,
                "share of known individuals answered with the right name, at a threshold that gave FPIR = 5 % on other "
                "photos",
                "314 groups",
            ),
        ),
        curves=(
            Curve("training", "loss", epochs, 2.9 * np.exp(-epochs / 7) + 0.2 + rng.normal(0, 0.03, 24)),
            Curve("validation", "loss", epochs, 2.6 * np.exp(-epochs / 9) + 0.55 + rng.normal(0, 0.03, 24)),
            Curve("MAP@5", "metric", epochs, 0.68 * (1 - np.exp(-epochs / 5)) + rng.normal(0, 0.008, 24)),
            Curve(
                "first answer right", "metric", epochs, 0.62 * (1 - np.exp(-epochs / 5.5)) + rng.normal(0, 0.008, 24)
            ),
            Curve("new layers", "lr", epochs, np.where(epochs < 9, 3e-4, np.where(epochs < 17, 3e-4, 3e-5))),
            Curve("backbone", "lr", epochs, np.where(epochs < 9, 3e-5, np.where(epochs < 17, 1e-5, 1e-6))),
        ),
        threshold=ThresholdScan(
            at,
            0.668 - 1.1 * (at - 0.42) ** 2 * (at < 0.42) - 0.75 * (at - 0.42) ** 2 * (at >= 0.42),
            0.42,
            share_new=1 / (1 + np.exp(-9 * (at - 0.55))),
            false_match_rate=1 / (1 + np.exp(10 * (at - 0.33))),
        ),
        worst=tuple(example(photos, seed=n, rank=(None, None, 5, 4, None, 3)[n % 6]) for n in range(half)),
        best=tuple(example(photos, seed=100 + n, rank=1) for n in range(n_examples - half)),
        confusions=tuple(ConfusedPair(a, b, count, own[0][2], other[0][2]) for (a, own), (b, other), count in pairs),
        facts=(
            Fact("photos", "8,164", "812 of unknown individuals"),
            Fact("individuals", "3,961", "2,073 with a single photo; maximum 63 photos"),
            Fact("validation photos", "742", "not used to train the network that answers them"),
            Fact("new photos answered", "1,686", ""),
        ),
        skipped=(
            SkippedFile("images/00c7aa12.jpg", "the file ends early (truncated after 3,112 of 9,024 bytes)"),
            SkippedFile("images/ffde0a91.jpg", "is not a picture: it starts with '<!doctype html>'"),
        ),
        stages=(
            StageRow("folds", "split", (), "742 of 8,164 photos are validation", 0.4),
            StageRow(
                "many",
                "train",
                ("folds",),
                "273 whales with 10 or more photos; MAP@5 0.981 in training after 8 epochs",
                611.0,
            ),
            StageRow("all", "train", ("folds", "many"), "all 3,961 whales, lower part frozen; MAP@5 0.655", 1240.0),
            StageRow("slow", "train", ("folds", "all"), "learning rate 3e-5; MAP@5 0.668", 702.0),
            StageRow("vectors", "embed", ("slow",), "8,164 photos and their mirror images", 97.0),
            StageRow("ranks", "rank", ("vectors",), "threshold 0.42 of 51 tried", 3.1),
            StageRow("submission", "write_submission", ("ranks",), "submission.csv, 1,686 rows", 0.2),
        ),
        plan_json=json.dumps(
            {
                "name": "humpback-classify",
                "stages": [
                    {
                        "kind": "split",
                        "name": "folds",
                        "folds": {"kind": "humpback", "n_known": 512, "n_unknown": 230},
                    },
                    {"kind": "train", "name": "many", "at_least": 10, "lr": 0.0003},
                ],
            }
        ),
        manifest={
            "started": "2026-11-22 02:49",
            "seed": 7,
            "plan": "4f1c09d2ab77e310",
            "data": "a06c2c99715be8d4",
            "versions": {"python": "3.11.2", "fieldmark": "0.1.0", "torch": "2.15.0", "numpy": "2.4.1"},
            "hardware": {"system": "Linux", "machine": "x86_64", "processor": "AMD EPYC", "cores": 2},
        },
    )


def sample_inspection(photos: list[Photo]) -> InspectPage:
    """Return the page of a data set with typical faults."""
    rng = np.random.default_rng(6)
    owned = _by_identity(photos)
    rows = sorted(((name, own) for name, own in owned.items() if name != "new_whale"), key=lambda one: -len(one[1]))[:6]
    tags = (
        "open water",
        "calf",
        "scarred",
        "left lobe torn",
        "dark underside",
        "white underside",
        "barnacles",
        "blurred",
        "spray",
        "far away",
        "grey picture",
        "鯨 tail",
        "ذيل",
        "ice",
    )
    truth = (rng.random((2000, len(tags))) < np.linspace(0.5, 0.04, len(tags))).astype(int)
    truth[:, 2] |= truth[:, 3]
    counts = truth.T @ truth
    widths = rng.choice([1050, 1050, 1050, 700, 600, 850, 1200, 397], 8164) + rng.integers(0, 30, 8164)
    return InspectPage(
        title="humpback2018",
        summary="8,164 photos of 3,961 individuals and 812 of unknown individuals. 2,073 individuals have a single "
        "photo. Correct 4 mistakes in the table before training. 3 files cannot be read.",
        facts=(
            Fact("Photos", "8,164"),
            Fact("Identities", "3,961", "2,073 have a single photo"),
            Fact("Unknown individuals", "812", "photos named new_whale"),
            Fact("Unreadable", "3"),
            Fact("Mistakes", "4", "in the table"),
            Fact("Duplicates", "733", "pictures in more than one file"),
        ),
        problems=(
            Problem("labels.csv", "file is missing", 118, "file", "images/0a0c1df9.jpg"),
            Problem("labels.csv", "same image with another identity in row 77", 1204, "image", "1e4b9d11.jpg"),
            Problem("labels.csv", "identity is empty", 3007, "identity", ""),
            Problem("labels.csv", "path leaves the image folder", 8001, "file", "../../etc/passwd"),
        ),
        broken=(
            SkippedFile("images/00c7aa12.jpg", "the file ends early (truncated after 3,112 of 9,024 bytes)"),
            SkippedFile("images/b1ffe001.png", "231 megapixels; the limit is 100"),
            SkippedFile("images/ffde0a91.jpg", "is not a picture: it starts with '<!doctype html>'"),
        ),
        duplicates=(
            DuplicateGroup((photos[0][0], photos[1][0]), ("w_0a1b", "w_77cd"), photos[0][2]),
            DuplicateGroup((photos[2][0], photos[3][0], photos[4][0]), ("w_1f00",) * 3, photos[2][2]),
            DuplicateGroup((photos[5][0], photos[6][0]), ("new_whale", "w_2ba0"), photos[5][2]),
        ),
        photos_per_identity=rng.zipf(2.1, 3961).clip(max=63),
        labels=tuple(LabelCount(tag, int(count)) for tag, count in zip(tags, np.diag(counts), strict=True)),
        cooccurrence=Cooccurrence(tags, counts),
        widths_px=widths,
        heights_px=(widths * rng.choice([0.35, 0.45, 0.57, 0.57, 0.67], 8164)).astype(int),
        samples=tuple(Tile(image, picture, name) for image, name, picture in photos[:36]),
        identities=tuple(
            IdentityRow(name, len(own), tuple(Tile(image, picture) for image, _, picture in own[:6]))
            for name, own in rows
        ),
    )


def sample_duplicates(photos: list[Photo]) -> DuplicatesPage:
    """Return the page of near-duplicates of a small data set."""
    tiles = tuple(Tile(image, picture, name) for image, name, picture in photos[:3])
    return DuplicatesPage(
        title="Near-duplicates in humpback2018",
        summary="1 picture is stored under two names: at least one of the names is wrong. Compare 1 pair of names that "
        "may be one individual.",
        facts=(Fact("Pictures", "2", "stored in several files"), Fact("Under two names", "1")),
        pictures=(DuplicateSheet("two names", True, tiles, 3), DuplicateSheet("same name", False, tiles[:2], 2)),
        n_pictures=2,
        suggested=(PairSheet("w_0a1b", "w_77cd", "share a picture", tiles[:2]),),
        n_suggested=1,
        broken=(SkippedFile("images/00c7aa12.jpg", "the file ends early"),),
    )


def sample_leaks() -> LeaksPage:
    """Return the page of a leakage audit."""
    gain = GainRow("identity", "file name", "letters of the file name", 1.0, 0.02, 0.41, 0.39, 0.35, 0.43, "leak", True)
    none = GainRow("identity", "image size", "width and height", 1.0, 0.02, 0.03, 0.01, -0.01, 0.03, "", False)
    return LeaksPage(
        title="Audit of humpback2018",
        summary="1 side feature predicts the identity without the image: a model may use it instead of the animal.",
        facts=(Fact("Photos", "8,164"), Fact("Leaks", "1", "of 2 side features")),
        worth=0.05,
        worth_times=2.0,
        gains=(gain, none),
        copies=(CopyRow("same bytes", "identity", 61, 12),),
        crossings=(CrossingRow("same bytes", "train", "test", 6353, 31),),
    )


def sample_survival() -> SurvivalPage:
    """Return the page of a download after two runs."""
    first, second = dt.datetime(2026, 10, 1, 8, 30, tzinfo=dt.UTC), dt.datetime(2026, 11, 1, 9, 5, tzinfo=dt.UTC)
    return SurvivalPage(
        title="Download of imaterialist",
        summary="7,902 of 9,800 addresses gave their photo (81 %). Repeat the download for 120 addresses whose host "
        "did not answer.",
        facts=(Fact("Addresses", "9,800"), Fact("With a photo", "7,902", "81 %")),
        causes=(
            CauseRow("gone", 1778, "the host has no such file"),
            CauseRow("timeout", 120, "the host did not answer"),
        ),
        hosts=(
            HostRow("images.example-shop.com", 5100, 4230, "870 gone"),
            HostRow("cdn.example.org", 4700, 3672, "gone"),
        ),
        checks=(CheckRow(first, "all addresses", 9800, 8011, 0), CheckRow(second, "all addresses", 9800, 7902, 109)),
        duplicates=(("0000017", "0000291"),),
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    filling = real_photos(Path(sys.argv[2])) if len(sys.argv) > 2 else drawn_photos()
    write_page(out / "run.html", run_page(sample_run(filling)))
    write_page(out / "inspect.html", inspect_page(sample_inspection(filling)))
    write_page(out / "duplicates.html", duplicates_page(sample_duplicates(filling)))
    write_page(out / "leaks.html", leaks_page(sample_leaks()))
    write_page(out / "survival.html", survival_page(sample_survival()))
