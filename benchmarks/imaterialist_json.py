"""Claim: a data set of iMaterialist 2017's size is processed from JSON to a submission in bounded memory.

Run ``OMP_NUM_THREADS=1 python benchmarks/imaterialist_json.py [--dense] [--folder FOLDER]``. The names of the 45 tasks
and 381 labels are the contest's (``meta_imaterialist2017`` in ``$FIELDMARK_DATA``). The labels allowed for each task
and the numbers of photos and annotations are the contest's, too; the assignment of labels to photos is random.
``--dense`` labels every task for every photo: 50,461 x 45. The scores of two models are simulated. All later steps use
the library: folds, weights, ensemble, estimated label shares, resolved hierarchy, submission. Each step runs in its own
process and prints its time and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.data.collection import Collection
from fieldmark.data.folds import assign
from fieldmark.data.imaterialist import CATEGORY, categories, category_of
from fieldmark.data.imaterialist_writing import write_imaterialist2017
from fieldmark.data.questions import QuestionEntry
from fieldmark.data.reading import read
from fieldmark.data.specs import StratifiedFolds
from fieldmark.decisions.hierarchy import resolve
from fieldmark.decisions.priors import estimated_shares, recalibrate
from fieldmark.decisions.questions import Questions
from fieldmark.decisions.score_averages import average_scores, find_weights
from fieldmark.decisions.specs import GeometricMean
from fieldmark.pipeline.artifacts.predictions import question_table
from fieldmark.reporting.submissions import question_submission
from fieldmark.stages.common.questions import labelled_truth, prior_of
from fieldmark.stages.labels.resolve_hierarchy import tree_of

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
PREFIX = "fgvc4_iMat"
N_TRAIN, N_VALIDATION, N_TEST = 42_029, 8_432, 33_726
N_ANNOTATIONS = 62_088
"""Number of annotations of the training photos: rows (image, task, label)."""
SHARE_SECOND = 0.15
"""Share of additional annotations of a photo that are another label of the same task."""
SHARE_CATEGORIES = {"dress": 0.4, "shoe": 0.3, "outerwear": 0.18, "pants": 0.12}
"""Assumed shares, because they are not published."""

ALLOWED = """
1 4 1
2 2 42
3 20 309 23 178 84 37 38 81 110 159 40 106 118 127 256 39 254 349 3 116 15 302 156 41 182 17 313 13 274 99 33
4 5 47 18 76
5 381 6 332 117 24 77 108 59 125 149 66 237 155 211 186 96 380 206 233 141 213 290 195 91 199 202 229
6 20 23 264 178 121 84 37 38 278 111 247 81 224 40 106 39 314 7 347 179 97 3 333 15 98 297 156 86 41 295 17 61 313
 270 169 132
7 337 24 94 124 8 64 32 217 176 62 92 45 113 137 158 101 139 50 214 16 135 260 112
8 201 161 245 318 46 58 150 207 19 163 361 273 35 234 9 191 192
9 170 165 5 298 10 126 154 120 22 128 51
10 281 57 283 184 11
11 20 23 178 37 38 12 269 111 172 81 110 106 118 39 330 203 3 15 116 113 374 297 156 275 41 173 129 107 17 61 230 33
12 351 212 89 379 225 305 14 208 34 235 30 65
13 31 220 27 362 319 19 136 259 71 193 44 60 239
14 343 287 329 122 323 103 258 171 348 134 226 294 219 90 164 322 357 242 72 360 346 363 358 21 26 74 143 304 222
 196 359 87 339 272 340 133 215
15 4 1
16 180 25 265 345 320
17 20 309 23 178 121 84 37 38 278 111 81 40 106 371 39 7 3 15 177 98 28 302 156 41 267 310 313 61 13 274 99
18 131 378 29 366 18 265 47 5 115
19 104 227 147 241 36 102 47 198 62 152 372 80 79 52
20 2 282 42
21 331 168 24 94 342 154 63 8 64 352 176 187 62 92 253 45 113 367 69 286 114 88 252 289 123 152 101 268 138 364 263
 246 50 54 16 100 285 135 43 296 85 260 189 112
22 166 245 46 145 93 19 307
23 144 153 140 183 46 353 93 142 242 244 324
24 355 24 375 108 59 188 125 148 316 151 327 216 46 249 284 293 277 129 107 181 376 377 195 255 119 229 105 315
25 67 291 338 148 55 231 368 317 326 335 238 116 56 173 129 107 174 48 230 9 119 66
26 369 312 24 94 154 8 83 49 176 187 321 92 183 113 95 334 88 252 289 204 101 306 214 210 209 16 260 85 112
27 34 30
28 34 157 30
29 2 42
30 190 117 279 53 185 125 262 223 155 211 62 116 29 292 96 68 283 240 109 202 229 130 221
31 2 282 42
32 4 1
33 190 70 173 231 116 365 174 311 48 325 218 301 59 119 238 55
34 248 243 228 126 73 232 197
35 157 250 75 34 30
36 308 64 354 336 276 154 62 43 194 135 189 92 78
37 231 116 49 271 119 82 238 55
38 205 200 160 299 146 261 162 102 373 47 370 175 350 167 341 288 356
39 216 300 303 266 202 105 236
40 4
41 130 184 251
42 232
43 257
44 328 353 34 280
45 344
"""
"""Labels allowed for each task: the id of the task, then the ids of the labels; 576 pairs.

Source: github.com/lijiancheng0614/FGVC2017, data/task_id_label_map.txt, derived from the contest's annotations.
"""


def allowed() -> dict[str, list[str]]:
    """Return the label ids of each task id."""
    lines: list[list[str]] = [line.split() for line in ALLOWED.strip().replace("\n ", " ").splitlines()]
    return {task: labels for task, *labels in lines}


def questions() -> tuple[QuestionEntry, ...]:
    """Return the 45 tasks with their allowed labels, after a question for the category."""
    folder = DATA / "meta_imaterialist2017"
    tasks = json.loads((folder / "fgvc4_iMat.task_map.json").read_text(encoding="utf-8"))["taskInfo"]
    labels = json.loads((folder / "fgvc4_iMat.label_map.json").read_text(encoding="utf-8"))["labelInfo"]
    name_of = {entry["labelId"]: entry["labelName"] for entry in labels}
    kinds = categories([entry["taskName"] for entry in tasks])
    entries = [QuestionEntry(name=CATEGORY, answers=tuple(dict.fromkeys(kinds.values())))]
    for entry in tasks:
        codes = {name_of[label]: label for label in allowed()[entry["taskId"]]}
        applies = {CATEGORY: (kinds[entry["taskName"]],)}
        name, code = entry["taskName"], entry["taskId"]
        entries.append(QuestionEntry(name=name, answers=tuple(codes), applies=applies, code=code, codes=codes))
    return tuple(entries)


def falling(n: int) -> np.ndarray:
    """Return n shares, where the k-th is 1/k of the first."""
    shares = 1 / np.arange(1, n + 1)
    return shares / shares.sum()


def sparse(entries: tuple[QuestionEntry, ...], n_photos: int, n_rows: int, chance: np.random.Generator) -> pl.DataFrame:
    """Return random labels of photos with the contest's density, as a table (photo, task, label) without repeats."""
    tasks = {kind: [one for one in entries if one.applies.get(CATEGORY) == (kind,)] for kind in entries[0].answers}
    kinds = chance.choice(list(SHARE_CATEGORIES), n_photos, p=list(SHARE_CATEGORIES.values()))
    photo = np.concatenate([np.arange(n_photos), chance.integers(n_photos, size=2 * (n_rows - n_photos))])
    rows: list[tuple[int, str, str]] = []
    last: dict[int, QuestionEntry] = {}
    added: set[tuple[int, str, str]] = set()
    for number in photo.tolist():
        own = tasks[kinds[number]]
        again = number in last and chance.random() < SHARE_SECOND
        task = last[number] if again else own[chance.choice(len(own), p=falling(len(own)))]
        answer = task.answers[chance.choice(len(task.answers), p=falling(len(task.answers)))]
        last.setdefault(number, task)
        if (row := (number, task.name, answer)) not in added and len(rows) < n_rows:
            added.add(row)
            rows.append(row)
    return pl.DataFrame(rows, schema=["photo", "task", "label"], orient="row")


def dense(entries: tuple[QuestionEntry, ...], n_photos: int, chance: np.random.Generator) -> pl.DataFrame:
    """Return one label of every task for every photo."""
    parts = []
    for one in entries[1:]:
        answers = pl.Series(one.answers, dtype=pl.String)
        drawn = chance.choice(len(answers), n_photos, p=falling(len(answers)))
        parts.append(
            pl.DataFrame({"photo": np.arange(n_photos), "label": answers[drawn]}).with_columns(task=pl.lit(one.name))
        )
    return pl.concat(parts)


def photos(marks: pl.DataFrame, entries: tuple[QuestionEntry, ...], n_photos: int, *, first: int) -> Collection:
    """Return the photos with their URLs and answers; one in twenty has two URLs."""
    number = np.arange(first, first + n_photos)
    urls = [
        [f"http://i{n % 97}.shop{n % 1013}.example/images/I/{n * 2654435761 % 2**61:016x}.jpg"] for n in number.tolist()
    ]
    for n, each in zip(number.tolist(), urls, strict=True):
        if n % 20 == 0:
            each.append(each[0].replace("/I/", "/G/"))
    table = pl.DataFrame({"photo": np.arange(n_photos), "image": [str(n) for n in number.tolist()], "urls": urls})
    table = table.with_columns(file=pl.col("image") + ".jpg", url=pl.col("urls").list.first())
    for one in entries[1:]:
        cells = marks.filter(pl.col("task") == one.name).group_by("photo", maintain_order=True).agg("label")
        cells = cells.rename({"label": one.name})
        table = table.join(cells, on="photo", how="left", maintain_order="left")
    kinds = categories([one.name for one in entries[1:]])
    table = table.drop("photo").with_columns(category_of(kinds).alias(CATEGORY))
    return Collection.of(table, root="images", questions=entries)


def contest(*, seed: int = 0, every_task: bool = False) -> tuple[Collection, Collection, Collection]:
    """Return training, validation and test photos in the numbers of the contest; the test photos are not labelled."""
    entries = questions()
    parts = []
    first = 1
    for n_photos in (N_TRAIN, N_VALIDATION, N_TEST):
        chance = np.random.default_rng([seed, n_photos])
        n_rows = round(N_ANNOTATIONS * n_photos / N_TRAIN)
        marks = dense(entries, n_photos, chance) if every_task else sparse(entries, n_photos, n_rows, chance)
        parts.append(photos(marks, entries, n_photos, first=first))
        first += n_photos
    train, validation, test = parts
    return train, validation, test


def measured(what: str, wall_s: float, cpu_s: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<60} {wall_s:6.1f} s  {cpu_s:6.1f} CPU-s  {peak:6.0f} MiB at most", flush=True)


def write_step(folder: Path, *, every_task: bool) -> None:
    train, validation, test = contest(every_task=every_task)
    train.write(folder / "train")
    measured("generated (and kept as Parquet)", time.perf_counter() - BEGAN, time.process_time())
    wall, cpu = time.perf_counter(), time.process_time()
    written = write_imaterialist2017(folder, train, validation=validation, test=test)
    what = f"written: {written.n_images:,} photos, {written.n_annotations:,} annotations"
    measured(what, time.perf_counter() - wall, time.process_time() - cpu)
    sizes = {file.name: file.stat().st_size / 2**20 for file in sorted(folder.glob("*.json"))}
    print("  " + ", ".join(f"{name} {size:.1f} MiB" for name, size in sizes.items()))


def read_step(folder: Path) -> None:
    measured("imported, nothing read", time.perf_counter() - BEGAN, time.process_time())
    wall, cpu = time.perf_counter(), time.process_time()
    again = read(folder, check_files=False)
    measured(f"read: {again!r}", time.perf_counter() - wall, time.process_time() - cpu)
    before = Collection.open(folder / "train")
    same = again.table.select(before.table.columns).equals(before.table) and again.vocabulary == before.vocabulary
    n_answers = sum(len(one.answers) for one in again.vocabulary.questions[1:])
    print(f"  equal to what was written: {same}; {len(again.vocabulary.questions) - 1} tasks, {n_answers} answers")


def simulated(truth: np.ndarray, question_of: np.ndarray, *, strength: float, seed: int) -> np.ndarray:
    """Return simulated probabilities of a model, higher for right answers, computed in blocks."""
    questions, proba = Questions.of(question_of), np.empty(truth.shape, np.float32)
    for start in range(0, len(truth), 4096):
        block = truth[start : start + 4096]
        chance = np.random.default_rng([seed, start])
        logits = chance.normal(size=block.shape) + strength * (block > 0)
        powers = np.exp(logits)
        proba[start : start + 4096] = questions.shared_out(powers)
    return proba


def answer_step(folder: Path) -> None:
    clock = [time.perf_counter(), time.process_time()]

    def lap(what: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        measured(what, now[0] - clock[0], now[1] - clock[1])
        clock[:] = now

    train = read(folder / f"{PREFIX}.train.data.json", check_files=False).answering()
    validation = read(folder / f"{PREFIX}.validation.data.json", check_files=False).answering()
    vocabulary = train.vocabulary
    same = validation.vocabulary == vocabulary
    known = replace(train, table=pl.concat([train.table, validation.table], how="diagonal")) if same else train
    new = read(folder / f"{PREFIX}.test.image.json", labelled=False, check_files=False)
    lap(f"read: {len(known):,} known, {len(new):,} new photos")
    question_of, truth = vocabulary.question_of, labelled_truth(known)
    fold = assign(StratifiedFolds(n_folds=10), classes=known.classes, groups=known.groups, truth=known.truth, seed=0)
    lap("ten folds, stratified over all answers")
    parts = [simulated(truth, question_of, strength=strength, seed=seed) for seed, strength in ((1, 2.0), (2, 1.0))]
    fresh = np.zeros((len(new), len(question_of)), np.float32)
    new_parts = [simulated(fresh, question_of, strength=0.0, seed=seed) for seed in (3, 4)]
    lap("two models simulated")
    by = GeometricMean(each_question=True)
    found = find_weights(parts, truth, question_of, by=by, fold=fold)
    lap(f"weights: error {found.crossed:.3f} crossed, alone {', '.join(f'{one:.3f}' for one in found.alone)}")
    gone = np.random.default_rng(5).random(len(new)) < 0.04
    prior = prior_of(known)
    proba = average_scores(new_parts, question_of, by=by, weights=found.weights, absent=[gone, gone], prior=prior)
    proba = recalibrate(
        proba, question_of, have=prior, want=estimated_shares(proba, question_of, have=prior, rounds=200)
    )
    lap(f"ensemble; {int(gone.sum()):,} photos missing; shares estimated")
    resolved = resolve(proba, tree_of(vocabulary))
    answers = question_table("new", new.images, proba, resolved, vocabulary)
    lap("hierarchy resolved")
    text = question_submission(answers, vocabulary=vocabulary)
    (folder / "submission.csv").write_text(text)
    lap(f"submission: {text.count(chr(10)) - 1:,} rows, {len(text) / 2**20:.0f} MiB")


def load_step(folder: Path) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    content = json.loads((folder / "fgvc4_iMat.train.data.json").read_text(encoding="utf-8"))
    what = f"for comparison, json.loads alone: {len(content['annotations']):,} annotations"
    measured(what, time.perf_counter() - wall, time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dense", action="store_true", help="label every task for every photo")
    parser.add_argument("--folder", type=Path, help="folder for the files (default: temporary)")
    parser.add_argument("--step", choices=["write", "read", "answer", "load"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "write":
        write_step(options.folder, every_task=options.dense)
    elif options.step == "read":
        read_step(options.folder)
    elif options.step == "answer":
        answer_step(options.folder)
    elif options.step == "load":
        load_step(options.folder)
    else:
        with tempfile.TemporaryDirectory() as aside:
            folder = options.folder or Path(aside)
            more = ["--dense"] if options.dense else []
            for step in ("write", "read", "answer", "load"):
                subprocess.run([sys.executable, __file__, "--step", step, "--folder", str(folder), *more], check=True)


if __name__ == "__main__":
    BEGAN = time.perf_counter()
    main()
