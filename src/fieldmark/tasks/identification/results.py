"""Answers of runs that identify: ranked individuals for each photo, each with its most similar known photo."""

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
    """One place of an answer.

    Attributes:
        place: 1 is first.
        identity: Name; the word for an unknown individual where that stands.
        score: Larger is likelier; the threshold where an unknown individual stands.
        is_new: Whether this place says that the individual is unknown.
        photo: The most similar photo of this individual in the gallery; None for an unknown one.
        similarity: Its cosine (mean over views), -1 to 1.
        proba: Probability that this answer is right; given for the first name and for an unknown individual, if the run
            learnt it.
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
    """Which individual is on one photo: the candidates, best first.

    Attributes:
        image: The photo's id.
        file: Its file.
        matches: The answers.
        known_proba: Probability that the animal is one we know; None where the run could not learn it.
        right_proba: Probability that the first name is right; None likewise.
    """

    image: str
    file: Path
    matches: tuple[Match, ...]
    known_proba: float | None = None
    right_proba: float | None = None

    @property
    def is_new(self) -> bool:
        """Whether the first answer is that the individual is unknown."""
        return bool(self.matches) and self.matches[0].is_new


def identifications(application: Application, *, k: int | None = None) -> list[Identification]:
    """Ranked individuals for each photo, "unknown" where it stands, each with its most similar known photo.

    Args:
        application: The stages of a run, applied to the photos.
        k: Candidates a photo; None for as many as the run was made with.
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
    """The most similar known photos, as the first network behind a ranking sees them."""

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
        """Id and cosine of the most similar known photo of each individual."""
        if not identities or self._gallery is None or self._query is None:
            return dict.fromkeys(identities, (None, None))
        rows, cosine = self._gallery.best_photos(self._query[:, row : row + 1], None, np.asarray([identities]))
        return {
            identity: (self._gallery.images[at], float(value))
            for identity, at, value in zip(identities, rows[0].tolist(), cosine[0].tolist(), strict=True)
        }


def _value(proba: float) -> float | None:
    return None if np.isnan(proba) else float(proba)
