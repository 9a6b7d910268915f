"""Attributes predicted from product names and from words in URLs alone, against the most frequent answer.

    python benchmarks/texts.py              names and URLs of real products: error of each question
    python benchmarks/texts.py --minilm     the same names with a language model (embedding takes minutes)
    python benchmarks/texts.py --scale      50,000 texts x 45 questions x 576 answers: CPU seconds and memory

The table is $FIELDMARK_DATA/fashion_products (12,490 products with names; 10,860 of all 44,446 have a URL, of which
about 2,300 contain words). A fifth is the test part, whose answers are used for the last columns only. "plain" draws
products at random. "grouped" keeps products with the same name (or the same words in the URL) together, so that no test
text occurs in training. The default settings were chosen by names on a held-out fifth of the training part of
"grouped". The figures for "grouped" names are therefore unbiased. The figures for "plain" and for URLs include some
products on which settings were chosen.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.seeds import generator
from fieldmark.decisions.hierarchy import likeliest
from fieldmark.decisions.priors import shares
from fieldmark.metrics.questions import error_per_question
from fieldmark.stacking.specs import MiniLm, NGrams
from fieldmark.stacking.texts import cross, learn_texts, url_text

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "fashion_products"
QUESTIONS = ("gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "usage")
EVERYWHERE = {"http", "https", "assets", "myntassets", "com", "v", "1", "image", "images", "style", "properties"}
"""Words that occur in all URLs of this shop."""


def truth_of(table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth with one column per answer, and the question of each answer."""
    columns, question_of = [], []
    for number, name in enumerate(QUESTIONS):
        given = table[name].to_list()
        answers = sorted({one for one in given if one})
        place = {one: at for at, one in enumerate(answers)}
        part = np.zeros((len(given), len(answers)), np.float32)
        for row, one in enumerate(given):
            if one:
                part[row, place[one]] = 1
            else:
                part[row] = np.nan
        columns.append(part)
        question_of += [number] * len(answers)
    return np.concatenate(columns, axis=1), np.array(question_of)


def in_test(texts: Sequence[str], *, grouped: bool) -> np.ndarray:
    keys = texts if grouped else [f"row {row}" for row in range(len(texts))]
    return np.array([int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big") % 5 == 0 for key in keys])


def wrong(proba: np.ndarray, truth: np.ndarray, question_of: np.ndarray) -> np.ndarray:
    found = error_per_question(likeliest(proba, question_of), np.nan_to_num(truth) > 0, question_of)
    return np.array([*found.of_question, found.mean])


def line(name: str, values: np.ndarray) -> None:
    print(f"{name:<36}" + "".join(f"{100 * value:>12.1f}" for value in values), flush=True)


def head(title: str) -> None:
    print(f"\n{title}\n{'error, %':<36}" + "".join(f"{name[:11]:>12}" for name in (*QUESTIONS, "mean")))


def measure(
    title: str, texts: Sequence[str] | np.ndarray, keys: Sequence[str], truth: np.ndarray, question_of: np.ndarray, by
) -> None:
    head(title)
    for grouped in (False, True):
        test = in_test(keys, grouped=grouped)
        kind = "grouped" if grouped else "plain"
        rows = np.flatnonzero(~test), np.flatnonzero(test)
        part = [texts[one] if isinstance(texts, np.ndarray) else [texts[row] for row in one] for one in rows]
        start = time.process_time()
        model = learn_texts(part[0], truth[rows[0]], question_of, by=by, seed=0)
        spent = time.process_time() - start
        prior = np.tile(shares(truth[rows[0]], question_of), (len(rows[1]), 1))
        line(f"{kind}: most frequent answer", wrong(prior, truth[rows[1]], question_of))
        line(f"{kind}: {by.kind}", wrong(model.proba(part[1]), truth[rows[1]], question_of))
        n_features = len(model.weights.of_side_feature)
        print(f"  trained on {len(rows[0]):,} in {spent:.1f} CPU-s, {len(rows[1]):,} tested; {n_features:,} features")


def names(*, minilm: bool) -> None:
    table = pl.read_csv(DATA / "labels.csv", infer_schema_length=0)
    truth, question_of = truth_of(table)
    texts = [one or "" for one in table["productDisplayName"].to_list()]
    if not minilm:
        measure("Names", texts, texts, truth, question_of, NGrams())
        return
    from fieldmark.models.text_encoder import TextEncoder

    start = time.process_time()
    embeddings = TextEncoder.load().encode(texts)
    print(f"{len(texts):,} texts embedded in {time.process_time() - start:.0f} CPU-s")
    measure("Names, by embeddings", embeddings, texts, truth, question_of, MiniLm())


def addresses() -> None:
    table = pl.read_csv(DATA / "all_44k_labels.csv.gz", infer_schema_length=0).filter(pl.col("url").fill_null("") != "")
    truth, question_of = truth_of(table)
    texts = [url_text(one) for one in table["url"].to_list()]
    words = [" ".join(word for word in text.split() if word not in EVERYWHERE and not word.isdigit()) for text in texts]
    has_words = np.array([bool(one) for one in words])
    print(f"\n{len(texts):,} URLs, {has_words.sum():,} with specific words")
    keys = [one or f"row {row}" for row, one in enumerate(words)]
    measure("URLs, all", texts, keys, truth, question_of, NGrams())
    some = np.flatnonzero(has_words)
    measure(
        "URLs with words",
        [texts[row] for row in some],
        [words[row] for row in some],
        truth[some],
        question_of,
        NGrams(),
    )
    fold = generator(0, "folds").permutation(len(some)) % 5
    proba, _ = cross([texts[row] for row in some], truth[some], question_of, fold, by=NGrams(), seed=0)
    head("URLs with words, five folds")
    line("ngrams", wrong(proba, truth[some], question_of))


def scale() -> None:
    chance = generator(0, "scale")
    n_answers = np.full(45, 12) + (np.arange(45) < 36)
    question_of = np.repeat(np.arange(45), n_answers)
    first = np.flatnonzero(np.diff(question_of, prepend=-1))
    right = (first + np.minimum(chance.geometric(0.3, (50_000, 45)) - 1, n_answers - 1)).astype(np.int32)
    labelled = chance.random((50_000, 45)) < 0.1
    truth = np.zeros((50_000, len(question_of)), np.float32)
    truth[~labelled[:, question_of]] = np.nan
    row, question = np.nonzero(labelled)
    truth[row, right[row, question]] = 1
    texts = [
        " ".join(f"word{answer}" for answer in one[given]) + f" item {number}"
        for number, (one, given) in enumerate(zip(right, labelled, strict=True))
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    start = time.process_time()
    model = learn_texts(texts, truth, question_of, by=NGrams(), seed=0)
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    n_features = len(model.weights.of_side_feature)
    print(f"50,000 texts x 45 questions x {len(question_of)} answers, {n_features:,} features: {spent:.0f} CPU-s")
    print(f"peak memory {peak:,.0f} MiB, before {before:,.0f} MiB (texts and truth)")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minilm", action="store_true")
    options.add_argument("--scale", action="store_true")
    given = options.parse_args()
    if given.scale:
        scale()
    else:
        names(minilm=given.minilm)
        if not given.minilm:
            addresses()
