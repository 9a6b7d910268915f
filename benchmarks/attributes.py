"""Real attributes: seven questions about 12,490 products, from images, from product names, and from both.

    python benchmarks/attributes.py runs --runs runs --seeds 1 2 3    the recipe, with a flat and a hierarchical head
    python benchmarks/attributes.py baseline --runs runs              independent logistic regressions, same features
    python benchmarks/attributes.py table --runs runs                 error per question on the test part

The images are 60 x 80 px and are resized to 128 px. The test part is a random fifth of the products (seed 0), the same
for all; nothing is chosen on it. The URLs leak the answers and are not used. ``baseline`` needs the cached features of
``runs``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from fieldmark.core.files import read_json, write_json
from fieldmark.data.collection import Collection
from fieldmark.data.questions import QuestionEntry
from fieldmark.data.reading import read
from fieldmark.decisions.hierarchy import likeliest
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.questions import error_per_question
from fieldmark.pipeline.artifacts.scores import ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.pipeline.plan import Stage
from fieldmark.plans.recipe import RECIPES
from fieldmark.quality.regions.sources import label_source
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.resolve_hierarchy import ResolveHierarchy
from fieldmark.tasks.reporting import write_report

SHELF = dict(RECIPES.items())

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data")) / "fashion_products"
QUESTIONS = (
    QuestionEntry(name="masterCategory"),
    QuestionEntry(name="subCategory", below="masterCategory"),
    QuestionEntry(name="articleType", below="subCategory"),
    QuestionEntry(name="gender"),
    QuestionEntry(name="baseColour"),
    QuestionEntry(name="season"),
    QuestionEntry(name="usage"),
)
FORMS = {"flat": "softmax", "hierarchical": "conditional"}
SIDE_PX = 128
MODELS = ("pictures", "texts", "trees", "ensemble")


class Lines:
    """Progress as plain lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, text: str) -> None:  # noqa: D102 - the protocol's
        if not text.startswith("epoch"):
            print(f"{time.monotonic() - self.began:7.0f} s  {text}", flush=True)

    def track(self, items, *, total, what):  # noqa: D102 - the protocol's
        del total, what
        yield from items


def photos() -> tuple[Collection, Collection]:
    """Return training and test products; the ground truth of the test products stays in their table."""
    every = read(DATA / "labels.csv", questions=QUESTIONS, columns={"text": "productDisplayName"}, photos=DATA)
    test = np.zeros(len(every), np.bool_)
    test[np.random.default_rng(0).permutation(len(every))[: len(every) // 5]] = True
    return every.take(~test), every.take(test)


def run(folder: Path, *, name: str, form: str, seed: int, effort: float) -> None:
    known, test = photos()
    plan = SHELF["imaterialist2017"](question_head=form, effort=effort, trees=False)
    plan = plan.model_copy(update={"stages": tuple(_smaller(stage) for stage in plan.stages)}).check()
    began = time.monotonic()
    answered = known.answering()
    execute(plan, answered, folder / name, new=test, seed=seed, progress=Lines(), features=folder / "features")
    write_report(Context.open(folder / name))
    measured(folder / name, test)
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def _smaller(stage: Stage) -> Stage:
    if not isinstance(stage, Train):
        return stage
    smaller = stage.preprocess.model_copy(update={"height_px": SIDE_PX, "width_px": SIDE_PX})
    return stage.model_copy(update={"preprocess": smaller})


def measured(folder: Path, test: Collection) -> None:
    """Store and print the errors of each model, and of the resolved ensemble, on the test part."""
    context = Context.open(folder)
    vocabulary = context.known.vocabulary
    answers = {}
    for stage in context.plan.stages:
        if stage.name in MODELS:
            answers[stage.name] = likeliest(new_proba(context, stage.name), vocabulary.question_of)
    resolve = context.plan.only(ResolveHierarchy)
    resolved = resolve.decoded(new_proba(context, resolve.reads_from), vocabulary)
    answers["ensemble, resolved"] = np.where(resolved >= 0, resolved, answers["ensemble"])
    pictures = resolve.decoded(new_proba(context, "pictures"), vocabulary)
    answers["pictures, resolved"] = np.where(pictures >= 0, pictures, answers["pictures"])
    np.savez(folder / "test.npz", **answers)
    report(folder.name, answers, test, context.known)


def new_proba(context: Context, name: str) -> np.ndarray:
    """Return the probabilities of all answers for the test part, averaged over the networks of a stage."""
    scored: ScoredPhotos = context.of_new().value(name)
    return scored.mean.of(context.known.vocabulary.tags)


def truth_of(test: Collection, known: Collection) -> np.ndarray:
    """Return the right answers in the columns of the training vocabulary; other answers have no column."""
    columns = {name: at for at, name in enumerate(known.vocabulary.answer_names)}
    truth = np.zeros((len(test), len(columns)), np.bool_)
    for one in known.vocabulary.questions:
        for row, given in enumerate(test.table[one.name].to_list()):
            for answer in given or []:
                if (column := columns.get(f"{one.name}::{answer}")) is not None:
                    truth[row, column] = True
    return truth


def report(name: str, answers: dict[str, np.ndarray], test: Collection, known: Collection) -> dict[str, list[float]]:
    truth, question_of = truth_of(test, known), known.vocabulary.question_of
    found = {}
    for model, answer in answers.items():
        errors = error_per_question(answer, truth, question_of)
        right = np.take_along_axis(truth, answer, axis=1)
        labelled = np.stack([truth[:, question_of == q].any(axis=1) for q in range(len(errors.of_question))], axis=1)
        ends = interval((right & labelled).sum(axis=1) / labelled.sum(axis=1))
        found[model] = [errors.mean, *errors.of_question.tolist(), 1 - ends.high, 1 - ends.low]
        cells = " ".join(f"{value:.3f}" for value in errors.of_question)
        print(f"{name}, {model}: {errors.mean:.4f} ({1 - ends.high:.4f}-{1 - ends.low:.4f})  {cells}", flush=True)
    return found


def baseline(folder: Path) -> None:
    """One logistic regression per answer, on pooled features of the frozen backbone, averaged over photo and flip."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from fieldmark.pipeline.artifacts.models import Models
    from fieldmark.training.features import FeatureStore, pooled

    known, test = photos()
    some = next(path for path in sorted(folder.iterdir()) if (path / "metrics.json").exists())
    context = Context.open(some)
    train = context.plan.only(Train)
    net = context.artifact(Models, train.name).nets("cpu")[0]
    source = label_source((known, test), train.preprocess)
    kept = pooled(net.network, source, features=FeatureStore(folder / "features"))
    assert kept is not None, "too little disk space for the cached features"
    n = len(known) + len(test)
    kept.fill(np.arange(2 * n), progress=Lines(), n_workers=1)
    rows = np.concatenate(
        [
            np.concatenate(list(kept.batches([part], epoch=0, n_workers=0)))
            for part in np.array_split(np.arange(2 * n), 40)
        ]
    )
    features = (rows[:n] + rows[n:]) / 2
    features = StandardScaler().fit(features[: len(known)]).transform(features).astype(np.float32)
    known = known.answering()
    truth, question_of = known.truth > 0, known.vocabulary.question_of
    labelled = known.has_answer[:, question_of]

    def one_against_rest(column: int, rows: np.ndarray, queries: np.ndarray, c: float) -> np.ndarray:
        rows = rows[labelled[rows, column]]
        if truth[rows, column].all() or not truth[rows, column].any():
            return np.full(len(queries), -1e3)  # an answer that is only in the test part
        model = LogisticRegression(C=c, max_iter=200).fit(features[rows], truth[rows, column])
        return model.decision_function(queries)

    # C is chosen by two questions on a fifth of the training photos.
    order = np.random.default_rng(1).permutation(len(known))
    held_out, fitted = order[: len(order) // 5], order[len(order) // 5 :]
    errors = {}
    for c in (0.001, 0.01, 0.1):
        wrong = []
        for question in (3, 5):
            columns = np.flatnonzero(question_of == question)
            logits = np.stack([one_against_rest(one, fitted, features[held_out], c) for one in columns], axis=1)
            scored = labelled[held_out, columns[0]]
            wrong.append(1 - truth[held_out][np.arange(len(held_out)), columns[logits.argmax(axis=1)]][scored].mean())
        errors[c] = float(np.mean(wrong))
    c = min(errors, key=errors.__getitem__)
    print(f"C by held-out error of gender and season: {errors}", flush=True)
    scores = np.zeros((len(test), len(question_of)), np.float32)
    began = time.process_time()
    for column in range(len(question_of)):
        scores[:, column] = one_against_rest(column, np.arange(len(known)), features[len(known) :], c)
    print(f"{len(question_of)} regressions: {time.process_time() - began:.0f} CPU-s", flush=True)
    answers = {"logistic regressions": likeliest(scores - scores.min(), question_of)}
    write_json(folder / "baseline.json", report("baseline", answers, test, known))


def table(folder: Path) -> None:
    known, test = photos()
    known = known.answering()
    names = [one.name for one in QUESTIONS]
    print("| | error | " + " | ".join(names) + " |\n|---|" + "---|" * (1 + len(names)))
    truth = truth_of(test, known)
    question_of = known.vocabulary.question_of
    blind = np.tile(likeliest(known.truth.sum(axis=0)[None], question_of), (len(test), 1))
    _row("commonest answers", [error_per_question(blind, truth, question_of)])
    if (folder / "baseline.json").exists():
        (values,) = read_json(folder / "baseline.json").values()
        print("| logistic regressions | " + " | ".join(f"{value:.3f}" for value in values[: 1 + len(names)]) + " |")
    for form in FORMS:
        places = sorted(folder.glob(f"{form}, seed *"))
        found = [dict(np.load(place / "test.npz")) for place in places if (place / "test.npz").exists()]
        for model in found[0] if found else ():
            if form == "flat" or model != "texts":
                _row(
                    f"{model}, {form}" if model != "texts" else model,
                    [error_per_question(one[model], truth, question_of) for one in found],
                )


def _row(name: str, found: list) -> None:
    values = np.array([[one.mean, *one.of_question] for one in found])
    spread = values.max(axis=0) - values.min(axis=0)
    cells = [
        f"{value:.3f}" + (f" ± {width / 2:.3f}" if len(found) > 1 else "")
        for value, width in zip(values.mean(axis=0), spread, strict=True)
    ]
    print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("runs", "baseline", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--effort", type=float, default=0.2)
    parser.add_argument("--forms", nargs="*", default=list(FORMS))
    options = parser.parse_args()
    if options.what == "runs":
        for seed in options.seeds:
            for name in options.forms:
                run(options.runs, name=f"{name}, seed {seed}", form=FORMS[name], seed=seed, effort=options.effort)
    if options.what == "baseline":
        baseline(options.runs)
    table(options.runs)


if __name__ == "__main__":
    main()
