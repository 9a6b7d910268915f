"""Answers of runs of the identification task: ranked individuals for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fieldmark.decisions.ranking import candidates
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.stages.identity.ranking import RankingStage


@dataclass(frozen=True)
class Match:
    """One candidate of an answer.

    Attributes:
        place: Place in the ranking, from 1.
        identity: Name of the individual, or the label of unknown individuals.
        score: Score of the individual; a larger score is more probable. For "unknown" it is the threshold.
        is_new: Whether this candidate is the answer "unknown individual".
        photo: Most similar photo of this individual in the gallery; None for "unknown".
        similarity: Cosine similarity to that photo (mean over views), -1 to 1; None for "unknown".
        proba: Probability that this candidate is right, 0 to 1. Only the first name and "unknown" have one, and only
            if the run is calibrated.
    """

    place: int
    identity: str
    score: float
    is_new: bool
    photo: Path | None
    similarity: float | None
    proba: float | None = None


@dataclass(frozen=True)
class Identification:
    """The answer for one photo: candidates, best first.

    Attributes:
        image: Id of the photo.
        file: Image file.
        matches: Candidates, best first.
        known_proba: Probability that the individual is known, 0 to 1; None if the run is not calibrated.
        right_proba: Probability that the first name is right, 0 to 1; None if the run is not calibrated.
    """

    image: str
    file: Path
    matches: tuple[Match, ...]
    known_proba: float | None = None
    right_proba: float | None = None

    @property
    def is_new(self) -> bool:
        """Return whether the first candidate is "unknown individual"."""
        return bool(self.matches) and self.matches[0].is_new


def identifications(application: Application, *, k: int | None = None) -> list[Identification]:
    """Return the ranked candidates for each photo, each with the most similar known photo.

    Args:
        application: The stages of a run, applied to the photos.
        k: Number of candidates per photo; None for the number used in training.
    """
    context, photos = application.context, application.photos
    known, vocabulary = context.known, context.known.vocabulary
    final = context.plan.answering()
    ranked: RankedPhotos = application.value(final.name)
    decision = context.artifact(Ranking, final.name).decision
    answers = candidates(ranked.scores, unknown_at=decision.at(photos), k=k or ranked.k)
    confidence, similar = decision.confidence(ranked.scores), _Similar(application, final)
    row_of = {image: row for row, image in enumerate(known.images)}
    paths, found = known.paths, []
    for row, (image, file, answer) in enumerate(zip(photos.images, photos.paths, answers, strict=True)):
        named = [one.identity for one in answer if not one.is_unknown]
        known_proba, right_proba = (
            (None, None) if confidence is None else (_value(confidence.known[row]), _value(confidence.right[row]))
        )
        nearest = similar.photos(row, named)
        matches = []
        for one in answer:
            photo, similarity = (None, None) if one.is_unknown else nearest[one.identity]
            proba = right_proba if named and one.identity == named[0] else None
            if one.is_unknown:
                proba = None if known_proba is None else 1 - known_proba
            matches.append(
                Match(
                    place=one.place,
                    identity=vocabulary.unknown if one.is_unknown else vocabulary.identities[one.identity],
                    score=one.score,
                    is_new=one.is_unknown,
                    photo=None if photo is None else paths[row_of[photo]],
                    similarity=similarity,
                    proba=proba,
                )
            )
        found.append(Identification(image, file, tuple(matches), known_proba=known_proba, right_proba=right_proba))
    return found


class _Similar:
    """The most similar known photos, by the embedding of the first network of a ranking."""

    def __init__(self, application: Application, final: object) -> None:
        context = application.context
        shown = final.shown(context.stages) if isinstance(final, RankingStage) else None
        self._gallery: GalleryStore | None = None
        self._query: Float32[np.ndarray, "view photo dim"] | None = None
        if shown is not None:
            self._gallery = context.artifact(Embeddings, shown).gallery(0)
            embedded: Embedded = application.value(shown)
            self._query = embedded.embedding[0]

    def photos(self, row: int, identities: Sequence[int]) -> dict[int, tuple[str | None, float | None]]:
        """Return the id and the cosine similarity of the most similar known photo of each individual."""
        if not identities or self._gallery is None or self._query is None:
            return dict.fromkeys(identities, (None, None))
        rows, cosine = self._gallery.best_photos(self._query[:, row : row + 1], None, np.asarray([identities]))
        return {
            identity: (self._gallery.images[at], float(value))
            for identity, at, value in zip(identities, rows[0].tolist(), cosine[0].tolist(), strict=True)
        }


def _value(proba: float) -> float | None:
    return None if np.isnan(proba) else float(proba)
