"""Text models: predict answers from the text of a photo: name, description, or the words of its address."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save_file

from fieldmark.core.errors import FieldmarkError, RunError, ShapeError
from fieldmark.core.files import disk_errors, read_json, sha256, write_json
from fieldmark.core.seeds import hash_seed
from fieldmark.decisions.questions import Questions
from fieldmark.stacking.linear import Weights
from fieldmark.stacking.ngrams import NGramFeatures, Sparse
from fieldmark.stacking.specs import MiniLm, NGrams, TextModel
from fieldmark.stacking.url_words import url_text

__all__ = ["FittedTextModel", "Texts", "cross", "learn_texts", "url_text"]

FORMAT = 2
META, ARRAYS = "texts.json", "texts.safetensors"
AT_ONCE = 4096
"""Number of texts predicted at once."""

Texts = Sequence[str] | Float32[np.ndarray, "image dim"]
"""The text of each photo; for ``MiniLm`` the embeddings, with a row of zeros where there is no text."""


@dataclass(frozen=True, eq=False)
class FittedTextModel:
    """A fitted text model.

    Attributes:
        by: Settings.
        questions: The answer columns.
        weights: Weights of each side feature (for ``MiniLm``: embedding dimension) for each answer.
        features: The n-grams, for ``NGrams``.
    """

    by: TextModel
    questions: Questions
    weights: Weights
    features: NGramFeatures | None

    def proba(self, texts: Texts) -> Float32[np.ndarray, "image answer"]:
        """Return the probability of each answer, from the text alone.

        Args:
            texts: Texts of photos that the model was not trained on; empty where there is none.

        Returns:
            Probabilities that sum to 1 within each question. They are never 0, nor 1 if there is more than one answer.
            The result is the prior for a text without known side features.

        Raises:
            FieldmarkError: Embeddings were passed to n-grams, or texts to MiniLM.
            ShapeError: Embeddings have another length.
        """
        texts = _read(texts, self.by)
        if isinstance(texts, np.ndarray) and texts.shape[1] != len(self.weights.of_side_feature):
            raise ShapeError(
                "The embeddings have another length than those the text model was trained on.",
                got=f"{texts.shape[1]} numbers per text; trained on {len(self.weights.of_side_feature)}",
                fix="embed the texts with the same encoder.",
            )
        proba = np.empty((len(texts), len(self.weights.prior)), np.float32)
        for start in range(0, len(proba), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            proba[start : start + AT_ONCE] = self.weights.proba(_table(part, self.features), self.questions)
        return proba

    def save(self, folder: Path) -> None:
        """Write ``texts.json`` and the arrays into an existing folder.

        Raises:
            RunError: The disk is full or cannot be written.
        """
        arrays = {**vars(self.weights), "question_of": self.questions.question_of}
        if self.features is not None:
            arrays |= {"rarity": self.features.rarity, **_as_bytes(self.features.terms)}
        with disk_errors(folder):
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS)
        write_json(
            folder / META,
            {
                "kind": "texts",
                "format": FORMAT,
                "by": self.by.model_dump(mode="json"),
                "sha256": sha256(folder / ARRAYS),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> FittedTextModel:
        """Load the text model that ``save`` wrote.

        Raises:
            RunError: It is missing, of another version, or damaged.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "texts" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} has no text model that this version can read.",
                got=str(meta)[:200],
                fix="run the stage that trains the text model again.",
            )
        try:
            if sha256(folder / ARRAYS) != meta["sha256"]:
                raise ValueError(f"changed: {ARRAYS}")  # noqa: TRY301 - one error for all damage
            by: TextModel = TypeAdapter(TextModel).validate_json(json.dumps(meta["by"]))
            arrays = load_arrays((folder / ARRAYS).read_bytes())
            weights = Weights(arrays["of_side_feature"], arrays["offset"], arrays["prior"])
            features = None
            if isinstance(by, NGrams):
                features = NGramFeatures(by, _from_bytes(arrays), arrays["rarity"])
                if len(features) != sum(map(len, features.terms)) or len(features) != len(weights.of_side_feature):
                    raise ValueError("side features and weights do not match")  # noqa: TRY301 - likewise
            return cls(by, Questions.of(arrays["question_of"]), weights, features)
        except (OSError, KeyError, TypeError, ValueError, ValidationError, SafetensorError, ShapeError) as error:
            raise RunError(
                f"The text model in {folder} is damaged.",
                got=error,
                fix="run the stage that trains the text model again.",
            ) from error


def learn_texts(
    texts: Texts,
    truth: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    *,
    by: TextModel,
    seed: int,
) -> FittedTextModel:
    """Fit a text model on all of these photos.

    Args:
        texts: The text of each photo; empty where there is none. For ``MiniLm`` the embeddings
            (``fieldmark.models.text_encoder``).
        truth: Above 0: correct (several may be); 0: not correct; NaN: the photo has no label for the question.
        question_of: The question number of each answer column.
        by: Settings.
        seed: Random seed of the order of texts.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: There are no labels, or texts and model do not match.

    Source:
        T41 (iMaterialist 2017, sixth place: "Text model", not specified there).
    """
    questions, truth = Questions.of(question_of), np.asarray(truth)
    return _learn(_checked(texts, truth, questions, by), truth, questions, by=by, seed=seed)


def cross(
    texts: Texts,
    truth: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    fold: Int[np.ndarray, " image"],
    *,
    by: TextModel,
    seed: int,
) -> tuple[Float32[np.ndarray, "image answer"], tuple[FittedTextModel, ...]]:
    """Return out-of-fold predictions of text models, and the models.

    Model k is trained on all folds but k and predicts fold k. Photos of one group (one shop, one product) are in one
    fold, so no photo is predicted by a model that was trained on the text of its near-duplicate.

    Args:
        texts: As for ``learn_texts``.
        truth: As for ``learn_texts``.
        question_of: The question number of each answer column.
        fold: Fold of each photo: 0, 1, 2 ...; a photo with -1 is used by all models for training and not predicted.
        by: Settings.
        seed: Random seed of the order of texts.

    Returns:
        The probabilities, NaN where the fold is -1; and one model per fold.

    Raises:
        ShapeError: The arrays do not match in shape.
        FieldmarkError: There are fewer than two folds, a fold is empty, or there are no labels outside one of them.
    """
    questions, truth, fold = Questions.of(question_of), np.asarray(truth), np.asarray(fold)
    texts = _checked(texts, truth, questions, by)
    n_photos = np.bincount(fold[fold >= 0]) if fold.shape == truth.shape[:1] else np.zeros(0, np.int64)
    if len(n_photos) < 2 or not n_photos.all():
        raise FieldmarkError(
            "fold must hold one fold per photo, with at least two folds and none empty.",
            got=f"folds {fold.shape} of {len(truth)} photos, {n_photos.tolist()} photos in each",
            fix="pass one whole number per photo: 0, 1, 2 ...",
        )
    proba = np.full(truth.shape, np.nan, np.float32)
    models = []
    for one in range(len(n_photos)):
        held_out = np.flatnonzero(fold == one)
        rest = np.flatnonzero(fold != one)
        model = _learn(_some(texts, rest), truth[rest], questions, by=by, seed=hash_seed(seed, "fold", one))
        proba[held_out] = model.proba(_some(texts, held_out))
        models.append(model)
    return proba, tuple(models)


def _as_bytes(terms: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return the terms of each kind as arrays; no term contains a line end."""
    return {f"terms{kind}": np.frombuffer("\n".join(one).encode(), np.uint8) for kind, one in enumerate(terms)}


def _from_bytes(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], ...]:
    kinds = sorted(name for name in arrays if name.startswith("terms"))
    return tuple(tuple(arrays[name].tobytes().decode().split("\n")) if arrays[name].size else () for name in kinds)


def _some(texts: Texts, rows: np.ndarray) -> Texts:
    return texts[rows] if isinstance(texts, np.ndarray) else [texts[row] for row in rows]


def _table(texts: Texts, features: NGramFeatures | None) -> Sparse | np.ndarray:
    """Return n-gram features, or embeddings, in columns."""
    return texts if features is None or isinstance(texts, np.ndarray) else features.table(texts)


def _learn(texts: Texts, truth: np.ndarray, questions: Questions, *, by: TextModel, seed: int) -> FittedTextModel:
    if not (np.nan_to_num(truth) > 0).any():
        raise FieldmarkError(
            "There are no labels to train a text model on.",
            got=f"{len(truth)} training photos, none with a correct answer to any question",
            fix="pass labelled photos in at least two folds.",
        )
    features = NGramFeatures.of(texts, by) if isinstance(by, NGrams) and not isinstance(texts, np.ndarray) else None
    weights = Weights.learnt(_table(texts, features), truth, questions, by=by.linear, seed=seed)
    return FittedTextModel(by, questions, weights, features)


def _checked(texts: Texts, truth: np.ndarray, questions: Questions, by: TextModel) -> Texts:
    questions.must_fit("truth", truth)
    if len(texts) != len(truth):
        raise ShapeError(
            "texts must have one entry per photo.",
            got=f"{len(texts)} texts, truth {truth.shape}",
            fix='pass "" for a photo without text.',
        )
    return _read(texts, by)


def _read(texts: Texts, by: TextModel) -> Texts:
    """Return the texts, or checked embeddings."""
    given = isinstance(texts, np.ndarray)
    if given != isinstance(by, MiniLm) or isinstance(texts, str):
        raise FieldmarkError(
            "texts have the wrong type for this text model.",
            got=f"{type(texts).__name__} for {by.kind!r}",
            fix='pass a list of texts to "ngrams", and the output of TextEncoder.load().encode(texts) to "minilm".',
        )
    if not isinstance(texts, np.ndarray):
        return texts
    if texts.ndim != 2 or not np.isfinite(texts).all():
        raise ShapeError(
            "Embeddings must have one row of finite numbers per photo.",
            got=f"{texts.shape}, {int((~np.isfinite(texts)).sum())} not finite",
            fix="pass the output of TextEncoder.load().encode(texts).",
        )
    return texts.astype(np.float32, copy=False)
