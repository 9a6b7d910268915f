"""Pages filled with plausible numbers, for tests and for looking at.

``python tests/report/sample_pages.py OUT [DATA]`` writes run.html and inspect.html; with DATA (the folder of
humpback2018_100px) real flukes stand in them, else drawn ones.
"""

from __future__ import annotations

import csv
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
from fieldmark.reporting.pages import inspect_page, run_page, write_page

Photo = tuple[str, str, bytes]
"""Image, identity, picture."""


def drawn_photo(seed: int, *, size: tuple[int, int] = (240, 120), noise: float = 12.0) -> bytes:
    """A sea, a tail, some grain: enough to look at and as heavy as ``noise`` says."""
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
    """A small collection of drawn tails."""
    return [
        (f"{who:02}{one}.jpg", f"w_{who:04x}", drawn_photo(who)) for who in range(n_identities) for one in range(each)
    ]


def real_photos(data: Path, *, most: int = 900) -> list[Photo]:
    """Flukes of humpback2018_100px, brought back to their own aspect."""
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
    """A query with five candidates, the right one at ``rank``; an unknown individual's right answer is new_whale."""
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
    """A run of the humpback recipe as it might have gone."""
    rng = np.random.default_rng(5)
    epochs = np.arange(1, 25, dtype=float)
    at = np.linspace(0, 1, 51)
    half = n_examples // 2
    owned = sorted(_by_identity(photos).items())
    pairs = zip(owned[0:6], owned[6:12], (7, 5, 4, 3, 2, 2), strict=False)
    return RunPage(
        title="Humpback flukes, winter season",
        recipe="humpback-classify · small",
        summary="Of 742 validation photos the right whale was first for 61 %, and among the first five for 74 %. "
        "Of the 230 photos of whales nobody knows, 171 were rightly called new.",
        scores_note="On 742 validation photos no network was trained on. The line below a number is its 95 % interval "
        "(bootstrap over whales).",
        scores=(
            ScoreRow(
                "MAP@5",
                0.668,
                0.634,
                0.701,
                "The contest's score: 1 if the right whale is always first, 0.5 if always second.",
            ),
            ScoreRow(
                "First answer right",
                0.612,
                0.577,
                0.647,
                "How often you may believe the first name without looking further.",
            ),
            ScoreRow(
                "Among the first five",
                0.741,
                0.709,
                0.772,
                "How often a person who looks at five candidates finds the whale.",
            ),
            ScoreRow(
                "Unknown individuals refused", 0.743, 0.683, 0.797, "Share of unknown whales that were given no name."
            ),
            ScoreRow(
                "Known against new (AUC)",
                0.857,
                0.829,
                0.884,
                "How well the best score tells known whales from unknown individuals; 0.5 is a coin.",
            ),
            ScoreRow(
                "Baseline MAP@5", 0.412, 0.378, 0.447, "Frozen backbone, nearest neighbour, its own best threshold."
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
            Fact("photos", "8,164", "7,352 of 3,961 named whales, 812 of whales nobody knows"),
            Fact("whales with a single photo", "2,073", "they stay in training"),
            Fact("validation", "742 photos", "one photo of each of 512 whales, 230 unknown individuals"),
            Fact("same picture, two names", "176 pairs", "see the page of the collection"),
        ),
        skipped=(
            SkippedFile("images/00c7aa12.jpg", "the file ends early (truncated after 3,112 of 9,024 bytes)"),
            SkippedFile("images/ffde0a91.jpg", "is no picture: it starts with '<!doctype html>'"),
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
            StageRow("answers", "answer", ("ranks",), "submission.csv, 1,686 rows", 0.2),
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
    """A collection with the usual faults."""
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
        summary="8,164 photos of 3,961 whales and 812 of unknown individuals. More than half of the whales have a "
        "single photo. Four mistakes in the table must be corrected before training, and three files cannot be read.",
        facts=(
            Fact("Photos", "8,164"),
            Fact("Identities", "3,961", "2,073 have a single photo"),
            Fact("Unknown individuals", "812", "photos labelled new_whale"),
            Fact("Unreadable", "3"),
            Fact("Mistakes", "4", "in the table; correct them"),
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
            SkippedFile("images/ffde0a91.jpg", "is no picture: it starts with '<!doctype html>'"),
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
        samples=tuple(Tile(image, picture, who) for image, who, picture in photos[:36]),
        identities=tuple(
            IdentityRow(name, len(own), tuple(Tile(image, picture) for image, _, picture in own[:6]))
            for name, own in rows
        ),
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    filling = real_photos(Path(sys.argv[2])) if len(sys.argv) > 2 else drawn_photos()
    write_page(out / "run.html", run_page(sample_run(filling)))
    write_page(out / "inspect.html", inspect_page(sample_inspection(filling)))
