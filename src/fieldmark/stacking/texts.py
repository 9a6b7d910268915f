"""Answers guessed from what is written about a photo: its name, its description, the words of its address."""

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
"""Texts judged at once."""

Texts = Sequence[str] | Float32[np.ndarray, "image dim"]
"""What is written about each photo; for ``MiniLm`` its embeddings, a row of zeros where nothing is written."""


@dataclass(frozen=True, eq=False)
class FittedTextModel:
    """A text model that has learnt.

    Attributes:
        by: Its settings.
        questions: Its answer columns.
        weights: Of each side feature (for ``MiniLm``: direction of the embedding) for each answer.
        side features: Of ``NGrams``.
    """

    by: TextModel
    questions: Questions
    weights: Weights
    features: NGramFeatures | None

    def proba(self, texts: Texts) -> Float32[np.ndarray, "image answer"]:
        """The probability of each answer, from the text alone.

        Args:
            texts: Of photos it has not learnt from; empty where there is none.

        Returns:
            Sums to 1 within each question and is never 0, nor 1 where there is more than one answer. The prior where
            nothing is written that was met in training.

        Raises:
            FieldmarkError: Embeddings were passed to n-grams, or texts to MiniLM.
            ShapeError: Embeddings are of another length.
        """
        texts = _read(texts, self.by)
        if isinstance(texts, np.ndarray) and texts.shape[1] != len(self.weights.of_side_feature):
            raise ShapeError(
                "The embeddings are not those that the text model learnt from.",
                got=f"{texts.shape[1]} numbers a text, learnt from {len(self.weights.of_side_feature)}",
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
        """The text model that ``save`` wrote.

        Raises:
            RunError: It is not there, of another version, or damaged.
        """
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("kind") != "texts" or meta.get("format") != FORMAT:
            raise RunError(
                f"{folder} holds no text model that this version reads.",
                got=str(meta)[:200],
                fix="run the stage that trains the text model again.",
            )
        try:
            if sha256(folder / ARRAYS) != meta["sha256"]:
                raise ValueError(f"not as written: {ARRAYS}")  # noqa: TRY301 - one way out for all damage
            by: TextModel = TypeAdapter(TextModel).validate_json(json.dumps(meta["by"]))
            arrays = load_arrays((folder / ARRAYS).read_bytes())
            weights = Weights(arrays["of_side_feature"], arrays["offset"], arrays["prior"])
            features = None
            if isinstance(by, NGrams):
                features = NGramFeatures(by, _from_bytes(arrays), arrays["rarity"])
                if len(features) != sum(map(len, features.terms)) or len(features) != len(weights.of_side_feature):
                    raise ValueError("side features and weights do not fit each other")  # noqa: TRY301 - likewise
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
    """A text model that has learnt from all of these photos.

    Args:
        texts: What is written about each photo; empty where nothing is. For ``MiniLm`` their embeddings
            (``fieldmark.models.text_encoder``).
        truth: Above 0: right (several may be); 0: not right; NaN: the question is not told of that photo.
        question_of: The question of each answer column.
        by: The model.
        seed: Of the order in which texts are read.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: Nothing is told, or texts and model do not go together.

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
    """What text models say of photos that they have not learnt from, and the models.

    Judge k learns from all folds but k and answers fold k. Photos of one group (one shop, one product) are in one
    fold, so that no photo is judged by a model that has read its near-duplicate's text.

    Args:
        texts: As for ``learn``.
        truth: As for ``learn``.
        question_of: The question of each answer column.
        fold: Of each photo: 0, 1, 2 ...; -1: all learn from it and nobody judges it.
        by: The model.
        seed: Of the order in which texts are read.

    Returns:
        The answers, NaN where the fold is -1; and a judge for each fold.

    Raises:
        ShapeError: The arrays do not fit each other.
        FieldmarkError: There are fewer than two folds, a fold is empty, or without it nothing is told.
    """
    questions, truth, fold = Questions.of(question_of), np.asarray(truth), np.asarray(fold)
    texts = _checked(texts, truth, questions, by)
    n_photos = np.bincount(fold[fold >= 0]) if fold.shape == truth.shape[:1] else np.zeros(0, np.int64)
    if len(n_photos) < 2 or not n_photos.all():
        raise FieldmarkError(
            "A text model must be judged by photos it has not read: it needs a fold for each photo.",
            got=f"folds {fold.shape} of {len(truth)} photos, {n_photos.tolist()} photos in each",
            fix="pass one fold a photo, 0, 1, 2 ..., at least two of them and none empty.",
        )
    proba = np.full(truth.shape, np.nan, np.float32)
    judges = []
    for one in range(len(n_photos)):
        held = np.flatnonzero(fold == one)
        rest = np.flatnonzero(fold != one)
        judge = _learn(_some(texts, rest), truth[rest], questions, by=by, seed=hash_seed(seed, "fold", one))
        proba[held] = judge.proba(_some(texts, held))
        judges.append(judge)
    return proba, tuple(judges)


def _as_bytes(terms: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """The terms of each kind as arrays; no term holds the end of a line."""
    return {f"terms{kind}": np.frombuffer("\n".join(one).encode(), np.uint8) for kind, one in enumerate(terms)}


def _from_bytes(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], ...]:
    kinds = sorted(name for name in arrays if name.startswith("terms"))
    return tuple(tuple(arrays[name].tobytes().decode().split("\n")) if arrays[name].size else () for name in kinds)


def _some(texts: Texts, rows: np.ndarray) -> Texts:
    return texts[rows] if isinstance(texts, np.ndarray) else [texts[row] for row in rows]


def _table(texts: Texts, features: NGramFeatures | None) -> Sparse | np.ndarray:
    """NGramFeatures, or directions of the embedding, in columns."""
    return texts if features is None or isinstance(texts, np.ndarray) else features.table(texts)


def _learn(texts: Texts, truth: np.ndarray, questions: Questions, *, by: TextModel, seed: int) -> FittedTextModel:
    if not (np.nan_to_num(truth) > 0).any():
        raise FieldmarkError(
            "There is nothing to learn answers from.",
            got=f"{len(truth)} photos to learn from, none with a right answer to any question",
            fix="pass photos with answers in every fold but one.",
        )
    features = NGramFeatures.of(texts, by) if isinstance(by, NGrams) and not isinstance(texts, np.ndarray) else None
    weights = Weights.learnt(_table(texts, features), truth, questions, by=by.linear, seed=seed)
    return FittedTextModel(by, questions, weights, features)


def _checked(texts: Texts, truth: np.ndarray, questions: Questions, by: TextModel) -> Texts:
    questions.must_fit("truth", truth)
    if len(texts) != len(truth):
        raise ShapeError(
            "Every photo needs its text, if only an empty one.",
            got=f"{len(texts)} texts, truth {truth.shape}",
            fix='pass "" where nothing is written.',
        )
    return _read(texts, by)


def _read(texts: Texts, by: TextModel) -> Texts:
    """The texts as they are, or embeddings that were looked at."""
    given = isinstance(texts, np.ndarray)
    if given != isinstance(by, MiniLm) or isinstance(texts, str):
        raise FieldmarkError(
            "The text model cannot read this.",
            got=f"{type(texts).__name__} for {by.kind!r}",
            fix='pass a list of texts to "ngrams"; to "minilm" what TextEncoder.load().encode(texts) gives.',
        )
    if not isinstance(texts, np.ndarray):
        return texts
    if texts.ndim != 2 or not np.isfinite(texts).all():
        raise ShapeError(
            "Embeddings must be one row a photo, of finite numbers.",
            got=f"{texts.shape}, {int((~np.isfinite(texts)).sum())} not finite",
            fix="pass what TextEncoder.load().encode(texts) gives.",
        )
    return texts.astype(np.float32, copy=False)
