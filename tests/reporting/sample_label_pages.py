"""Sample pages of tagging and attributes runs with plausible numbers, for tests and for checking their design.

``python tests/reporting/sample_label_pages.py OUT`` writes labels.html and questions.html with drawn pictures.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fieldmark.reporting.contents import Curve, Fact, ScoreRow, SkippedFile, StageRow
from fieldmark.reporting.label_contents import (
    AddedPhotos,
    Difference,
    DroppedPhotosSection,
    LabelIssueRow,
    LabelRow,
    LabelsPage,
    LabelThresholdScan,
    Mark,
    MarkedPhoto,
    QuestionRow,
    ScoreAverageRow,
    StageScore,
    ThresholdRow,
    TrainingHistory,
    TreesSection,
)
from fieldmark.reporting.label_pages import labels_page
from fieldmark.reporting.pages import write_page

NAMES = ("culture::delft", "culture::egyptian", "tag::vases", "tag::women", "tag::portraits", "tag::plants", "tag::ink")


def drawn_object(seed: int, *, noise: float = 8.0) -> bytes:
    """Draw a coloured vase on a grey background."""
    rng = np.random.default_rng(seed)
    size = (200, 240) if seed % 3 else (240, 180)
    image = Image.new("RGB", size, (205, 203, 198))
    draw = ImageDraw.Draw(image)
    width, height = size
    colour = tuple(int(one) for one in rng.integers(40, 210, 3))
    draw.ellipse((0.25 * width, 0.3 * height, 0.75 * width, 0.9 * height), fill=colour)
    draw.rectangle((0.42 * width, 0.1 * height, 0.58 * width, 0.4 * height), fill=colour)
    pixels = np.asarray(image, dtype=float) + rng.normal(0, noise, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def marked(seed: int, *, good: bool, noise: float = 8.0) -> MarkedPhoto:
    """Return a photo with a few labels, all right (``good``) or some wrong."""
    rng = np.random.default_rng(seed)
    names = [NAMES[place] for place in rng.permutation(len(NAMES))[:5]]
    kinds = ("right",) * 5 if good else ("right", "missed", "missed", "extra", "extra")
    marks = tuple(Mark(name, kind, float(rng.random())) for name, kind in zip(names, kinds, strict=True))
    return MarkedPhoto(f"{seed:016x}", drawn_object(seed, noise=noise), marks, "F2 1.000" if good else "F2 0.312")


def sample_labels(*, n_examples: int = 12, n_labels: int = 485, noise: float = 8.0) -> LabelsPage:
    """Return the page of a plausible run of the tagging recipe."""
    rng = np.random.default_rng(3)
    epochs = np.arange(1, 11, dtype=float)
    at = np.linspace(0.01, 0.95, 40)
    counts = np.sort(rng.zipf(1.4, n_labels).clip(2, 9151))[::-1]
    quality = (0.25 + 0.08 * np.log(counts) + rng.normal(0, 0.1, n_labels)).clip(0.01, 0.99)
    stages = ("zoo-lite0", "zoo-lite0-max", "zoo-lite0-160", "zoo2-lite0", "zoo2-lite0-max", "zoo2-lite0-160")
    return LabelsPage(
        title="imet2019 on a museum",
        recipe="imet2019 · small",
        summary="The run found 71 of every 100 labels in the table, on 5,307 photos that its networks were not "
        "trained on. Of every 100 labels that it predicted, 54 are in the table. Use the predicted labels as "
        "suggestions for a person to confirm: many of them are not in the table.",
        scores=(
            ScoreRow("mean F2", 0.612, 0.606, 0.618, "mean over photos; a missed label counts four times an extra one"),
            ScoreRow(
                "mean F2, cross-fitted",
                0.609,
                0.603,
                0.615,
                "mean F2 to expect on new photos: the thresholds for each photo were found on other photos",
            ),
            ScoreRow("labels per photo", 5.2, 5.1, 5.3, "predicted; the table has 3.20"),
        ),
        scores_note="Measured on all 5,307 known photos, each scored by networks that were not trained on it. The "
        "thresholds were found on the same photos, so the numbers are slightly too good.",
        stage_scores=(
            StageScore("zoo", 0.575, 0.568, 0.582, None, ("3 networks",), "3 network(s) a fold, 5,307 known photos"),
            StageScore(
                "zoo2", 0.581, 0.574, 0.588, Difference(0.006, 0.002, 0.010), ("without 106 dropped photos",), "said"
            ),
            StageScore(
                "zoo3", 0.577, 0.570, 0.584, Difference(-0.004, -0.007, -0.001), ("with 512 new photos",), "said"
            ),
            StageScore(
                "special", 0.578, 0.571, 0.585, Difference(0.001, -0.002, 0.004), ("networks for tag",), "5 folds"
            ),
            StageScore(
                "trees", 0.609, 0.602, 0.616, Difference(0.031, 0.027, 0.035), ("boosted trees",), "93.1 % of labels"
            ),
        ),
        stage_scores_note="Mean F2 with out-of-fold scores and cross-fitted thresholds. “Better” and “worse” mean "
        "that the whole 95 % interval of the mean difference per photo lies above or below zero.",
        training_histories=tuple(
            TrainingHistory(
                name,
                tuple(
                    Curve(f"fold{k}", "loss", epochs, 9 * np.exp(-epochs / 3) + 2 + rng.normal(0, 0.2, 10))
                    for k in range(5)
                ),
                "focal",
            )
            for name in stages
        ),
        learning_rates=(Curve("zoo-lite0 and 5 more", "lr", epochs, 2e-3 * np.cos(epochs / 7)),),
        thresholds=tuple(
            ThresholdRow(group, n, cut, 0, most, "", LabelThresholdScan(at, 0.61 - (at - cut) ** 2, cut))
            for group, n, cut, most in (("culture", 129, 0.28, 3), ("tag", 356, 0.1, None))
        ),
        labels=(
            *(
                LabelRow(f"tag::word {n}", int(count), int(count * 1.2), float(q), float(q), float(1 - q / 2), float(q))
                for n, (count, q) in enumerate(zip(counts, quality, strict=True))
            ),
            LabelRow("tag::Édouard without photos", 0, 3),
        ),
        best=tuple(marked(n, good=True, noise=noise) for n in range(n_examples)),
        worst=tuple(marked(50 + n, good=False, noise=noise) for n in range(n_examples)),
        issues=tuple(
            LabelIssueRow(
                f"{n:08x}",
                NAMES[n % 7],
                ("missing", "wrong")[n % 2],
                (0.97, 0.002)[n % 2],
                0.99 - n / 60,
                drawn_object(n, noise=noise),
                ("tag::plants",),
            )
            for n in range(40)
        ),
        issues_note="The 40 labels of the table most likely to be wrong or missing, by the out-of-fold scores of zoo3.",
        dropped=(
            DroppedPhotosSection(
                "filtered",
                "106 of 5,307 photos dropped, error above 9.12",
                106,
                tuple(marked(80 + n, good=False, noise=noise) for n in range(24)),
                tuple(Fact(f"{n:08x}", "9.5") for n in range(82)),
            ),
        ),
        added=(
            AddedPhotos(
                "pseudo_labels",
                "498 to 512 of 1,309 new photos joined",
                tuple(
                    MarkedPhoto(f"new{n}", drawn_object(n, noise=noise), (Mark("tag::ink", "plain", 0.98),))
                    for n in range(12)
                ),
            ),
        ),
        trees=(
            TreesSection(
                "trees", tuple((f"zoo3/lite0 x mean of {n}", 0.3 / (n + 1)) for n in range(25)), 91, 0.93, 98213
            ),
        ),
        facts=(Fact("photos", "5,307"), Fact("labels", "485", "149 with fewer than ten photos")),
        skipped=(SkippedFile("images/a.jpg", "the file ends early"),),
        stages=(
            StageRow("split", "split", (), "5 fold(s)", 0.4),
            StageRow("zoo", "score", ("zoo-lite0", "split"), "3 network(s) a fold", 12.0),
        ),
        plan_json=json.dumps({"name": "imet2019", "stages": []}),
        manifest={"seed": 7, "versions": {"numpy": "2.4.1"}},
    )


def answered(seed: int, *, good: bool) -> MarkedPhoto:
    """Return a photo with answers to questions, all right (``good``) or some wrong."""
    rng = np.random.default_rng(seed)
    right = ("category::dress", "colour::dark blue", "sleeve length::long", "pattern::striped", "heel type::none")
    marks = [Mark(name, "right", float(rng.uniform(0.5, 1))) for name in right]
    if not good:
        marks[1:2] = [Mark("colour::black", "extra", 0.61), Mark("colour::dark blue", "missed", 0.27)]
        marks[3:4] = [Mark("pattern::plain", "extra", 0.55), Mark("pattern::striped", "missed", 0.41)]
    note = "5 of 5 right" if good else "3 of 5 right"
    return MarkedPhoto(f"{seed:07}.jpg", drawn_object(seed), tuple(marks), note)


def sample_questions() -> LabelsPage:
    """Return the page of a plausible run of the attributes recipe."""
    questions = (
        QuestionRow("category", 4, 9800, 0.041, 0.62, "dress answered as jumpsuit (112 times)"),
        QuestionRow("colour", 19, 9655, 0.283, 0.74, "dark blue answered as black (301 times)", "category"),
        QuestionRow("sleeve length", 5, 4310, 0.117, 0.51, "short answered as sleeveless (98 times)", "category"),
        QuestionRow("pattern", 12, 8022, 0.212, 0.39, "plain answered as textured (240 times)", "category"),
        QuestionRow("heel type", 9, 1904, 0.164, 0.55, "block answered as wedge (61 times)", "category"),
        QuestionRow("closure type", 14, 1720, 0.231, 0.48, "", "category"),
    )
    weights = tuple((one.name, (0.15 + at / 20, 0.45 - at / 20, 0.4)) for at, one in enumerate(questions))
    return LabelsPage(
        title="imaterialist2017 on a shop",
        recipe="imaterialist2017",
        summary="The run answered 81 of every 100 questions right, on 9,800 photos that its models were not trained "
        "on. The most frequent answers alone would be right for 45 of every 100. Check answers to “colour” by hand "
        "first: it has the lowest accuracy, 72 %.",
        scores=(
            ScoreRow(
                "error",
                0.187,
                0.181,
                0.193,
                "share of labelled questions answered wrong (1 - accuracy); one of several right answers is enough",
                "9,800 photos",
            ),
            ScoreRow(
                "baseline error",
                0.552,
                0.547,
                0.557,
                "error if each question always gets its most frequent answer",
                "9,800 photos",
            ),
        ),
        scores_note="Measured on all 9,800 known photos. Each photo was answered by models that were not trained on "
        "it. Questions without an answer in the table are not counted.",
        score_name="accuracy",
        questions=questions,
        weights=(ScoreAverageRow("ensemble", ("net", "texts", "trees"), weights),),
        stage_scores=(
            StageScore("net", 0.771, 0.765, 0.777, None, ("networks on the image",), "5 folds"),
            StageScore(
                "texts", 0.702, 0.695, 0.709, Difference(-0.069, -0.075, -0.063), ("text columns: title",), "5 folds"
            ),
            StageScore(
                "ensemble",
                0.813,
                0.807,
                0.819,
                Difference(0.111, 0.104, 0.118),
                ("weighted average of net, texts and trees (per question)",),
                "error 0.187",
            ),
        ),
        best=tuple(answered(n, good=True) for n in range(4)),
        worst=tuple(answered(40 + n, good=False) for n in range(4)),
        facts=(
            Fact("photos", "9,800", "212 photos with several right answers to a question"),
            Fact("questions", "6", "mean 3.6 labelled per photo"),
        ),
        stages=(StageRow("split", "split", (), "5 fold(s)", 0.4),),
        manifest={"seed": 7, "versions": {"numpy": "2.4.1"}},
    )


if __name__ == "__main__":
    write_page(Path(sys.argv[1]) / "labels.html", labels_page(sample_labels()))
    write_page(Path(sys.argv[1]) / "questions.html", labels_page(sample_questions()))
