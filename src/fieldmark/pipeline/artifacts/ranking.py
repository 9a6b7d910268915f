"""Individuals ranked for each photo, with the threshold below which it shows an unknown one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32
from pydantic import ValidationError

from fieldmark.core.errors import RunError
from fieldmark.core.files import read_json, write_json, write_text
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.confidence import Confidence, ConfidenceModel
from fieldmark.decisions.grouped import GroupThresholds
from fieldmark.decisions.ranking import UnknownScore, candidates
from fieldmark.decisions.unknown_thresholds import UnknownThreshold
from fieldmark.pipeline.artifacts.base import Predictions
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.reporting.submissions import SUBMISSION, ranking_submission, with_blanks

if TYPE_CHECKING:
    from fieldmark.pipeline.context import Context

RANKING = "ranking.parquet"
DECISION = "decision.json"
SCORES = "validation.npy"
NEW_SCORES = "new.npy"
RANKED = "answers.csv"


@dataclass(frozen=True)
class RankedPhotos:
    """What a ranking stage says of some photos.

    Attributes:
        scores: Of each individual; larger is likelier, -inf for one that cannot be compared.
        k: Candidates a photo.
        learnt: Which of the photos some network behind the scores was trained on, as a pseudo-labelled new photo.
        keypoints: What matching keypoints found, where the stage matches them.
    """

    scores: Float32[np.ndarray, "photo identity"]
    k: int
    learnt: Bool[np.ndarray, " photo"] | None = None
    keypoints: object | None = None


@dataclass(frozen=True)
class Decision:
    """Where "nobody we know" stands, and how sure answers are.

    Attributes:
        threshold: For all photos.
        groups: Of groups of photos; None without.
        confidence_model: Scores to probabilities; None where it was not learnt.
    """

    threshold: UnknownThreshold
    groups: GroupThresholds | None = None
    confidence_model: ConfidenceModel | None = None

    @classmethod
    def read(cls, place: Path) -> Decision:
        """The decision in a stage's folder.

        Raises:
            RunError: Another version of fieldmark wrote it.
        """
        told = dict(read_json(place / DECISION))
        groups, confidence = told.pop("groups", None), told.pop("confidence_model", None)
        try:
            return cls(
                UnknownThreshold.model_validate(told),
                None if groups is None else GroupThresholds.model_validate(groups),
                None
                if confidence is None
                else ConfidenceModel.model_validate_json(json.dumps(confidence)),  # JSON lists are its tuples
            )
        except ValidationError as error:
            raise RunError(
                "This run was decided by another version of fieldmark.",
                got=place / DECISION,
                fix=f"delete the folder {place} and run the same `fieldmark train` command again; networks stay.",
            ) from error

    def write(self, folder: Path) -> None:
        """Put it into a stage's folder."""
        told = self.threshold.model_dump(mode="json")
        if self.groups is not None:
            told["groups"] = self.groups.model_dump(mode="json")
        if self.confidence_model is not None:
            told["confidence_model"] = self.confidence_model.model_dump(mode="json")
        write_json(folder / DECISION, told)

    def at(self, photos: Collection) -> UnknownScore:
        """The threshold of each photo, or the one of all."""
        return self.threshold.at if self.groups is None else self.groups.at(names_of(photos, self.groups.column))

    def confidence(self, scores: Float32[np.ndarray, "photo identity"]) -> Confidence | None:
        """How sure the answers from these scores are."""
        return None if self.confidence_model is None or not len(scores) else self.confidence_model.of(scores)


def names_of(photos: Collection, column: str) -> list[str | None]:
    """The group of each photo; None where the photos' table does not tell."""
    if column not in photos.table.columns:
        return [None] * len(photos)
    return photos.table[column].cast(pl.String).to_list()


class Ranking(Predictions):
    """Scores of validation and new photos, the threshold found on validation, and the first candidates of both."""

    def write(
        self,
        known: Collection,
        *,
        scores: Float32[np.ndarray, "photo identity"],
        decision: Decision,
        k: int,
        confidence: Confidence | None = None,
    ) -> None:
        """Write what is said of the validation photos.

        Args:
            known: The validation photos.
            scores: Theirs.
            decision: Threshold and calibration.
            k: Candidates a photo.
            sure: How sure the answers are, by curves that have not seen the photos.
        """
        decision.write(self.folder)
        np.save(self.folder / SCORES, scores)
        table = ranking_table(
            "validation", known.images, scores, decision.at(known), k, known.vocabulary, confidence=confidence
        )
        table.write_parquet(self.folder / RANKING)

    @cached_property
    def scores(self) -> Float32[np.ndarray, "photo identity"]:
        """Scores of the validation photos, in the order of their rows."""
        return np.load(self.folder / SCORES, allow_pickle=False)

    @cached_property
    def decision(self) -> Decision:
        """Threshold and calibration."""
        return Decision.read(self.folder)

    def table(self, part: Literal["validation", "new"]) -> pl.DataFrame:
        """The first candidates of validation or new photos; see ``ranking_table``."""
        return pl.read_parquet(self.folder / RANKING).filter(pl.col("part") == part)

    def keep(self, value: RankedPhotos, context: Context) -> str:
        """Write scores and candidates of the new photos.

        How sure an answer is was learnt on photos that no network had seen: of new photos that one was trained on, it
        is left out.
        """
        new = context.new
        if new is None:
            raise TypeError("the run has no new photos")
        np.save(self.folder / NEW_SCORES, value.scores)
        confidence = self.decision.confidence(value.scores)
        if confidence is not None and value.learnt is not None:
            known, right = (np.where(value.learnt, np.nan, one) for one in (confidence.known, confidence.right))
            confidence = Confidence(known=known, right=right)
        at, vocabulary = self.decision.at(new), context.known.vocabulary
        table = ranking_table("new", new.images, value.scores, at, value.k, vocabulary, confidence=confidence)
        pl.concat([pl.read_parquet(self.folder / RANKING), table]).write_parquet(self.folder / RANKING)
        return ""

    def kept(self, context: Context) -> RankedPhotos:
        """Scores of the new photos.

        Raises:
            RunError: The stage was run by an older version, which did not keep them.
        """
        del context
        if not (self.folder / NEW_SCORES).exists():
            raise RunError(
                "The ranking's scores of the new photos were not kept by the version that made them.",
                got=self.folder,
                fix=f"delete the folder {self.folder} and run the same `fieldmark train` command again.",
            )
        return RankedPhotos(np.load(self.folder / NEW_SCORES, allow_pickle=False), k=self.decision.threshold.k)

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write ``submission.csv``, the Humpback contest's; names with blanks cannot stand in it, they get a table."""
        ranking, images = self.table("new"), [] if context.new is None else context.new.images
        if with_blanks(ranking):
            table = ranking.sort("image", "place").drop("part")
            write_answers_csv(folder / RANKED, table.iter_rows(), table.columns, for_people=True)
            return f"{len(images)} photos answered in {RANKED}; no {SUBMISSION}, as some names have blanks"
        write_text(folder / SUBMISSION, ranking_submission(ranking, images=images))
        return f"{len(images)} photos answered in {SUBMISSION}"


def ranking_table(
    part: str,
    images: Sequence[str],
    scores: Float32[np.ndarray, "query identity"],
    unknown_at: UnknownScore,
    k: int,
    vocabulary: Vocabulary,
    *,
    confidence: Confidence | None = None,
) -> pl.DataFrame:
    """One row a photo and place: part, image, place (1 is first), identity (by name), score, known_proba, right_proba.

    The last two are the photo's: the probability that its animal is one we know, and that the first name is right; of
    validation photos by curves that have not seen them. Null where they were not learnt.
    """
    names = vocabulary.identities
    known, right = (None, None) if confidence is None else (confidence.known.tolist(), confidence.right.tolist())
    rows = [
        (
            part,
            image,
            one.place,
            vocabulary.unknown if one.is_unknown else names[one.identity],
            one.score,
            None if known is None else known[row],
            None if right is None else right[row],
        )
        for row, (image, answer) in enumerate(zip(images, candidates(scores, unknown_at=unknown_at, k=k), strict=True))
        for one in answer
    ]
    schema = {
        "part": pl.String,
        "image": pl.String,
        "place": pl.Int64,
        "identity": pl.String,
        "score": pl.Float64,
        "known_proba": pl.Float64,
        "right_proba": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("known_proba", "right_proba").fill_nan(None)
    )
