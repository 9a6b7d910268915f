"""Rankings of individuals for each photo, and the threshold for unknown individuals."""

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
    """The result of a ranking stage for some photos.

    Attributes:
        scores: Score of each individual; a larger score is likelier, -inf if there is no photo to compare with.
        k: Number of candidates per photo.
        learnt: Whether a network behind the scores was trained on the photo, as a pseudo-labelled new photo.
        keypoints: Keypoint matches, if the stage matches keypoints.
    """

    scores: Float32[np.ndarray, "photo identity"]
    k: int
    learnt: Bool[np.ndarray, " photo"] | None = None
    keypoints: object | None = None


@dataclass(frozen=True)
class Decision:
    """The threshold for unknown individuals, and the model of confidence.

    Attributes:
        threshold: Threshold for all photos.
        groups: Thresholds per group of photos; None if there are none.
        confidence_model: Model that maps scores to probabilities; None if it was not fitted.
    """

    threshold: UnknownThreshold
    groups: GroupThresholds | None = None
    confidence_model: ConfidenceModel | None = None

    @classmethod
    def read(cls, place: Path) -> Decision:
        """Read the decision from a stage's folder.

        Raises:
            RunError: Another version of fieldmark wrote it, and it cannot be read.
        """
        content = dict(read_json(place / DECISION))
        groups, confidence = content.pop("groups", None), content.pop("confidence_model", None)
        try:
            return cls(
                UnknownThreshold.model_validate(content),
                None if groups is None else GroupThresholds.model_validate(groups),
                None
                if confidence is None
                else ConfidenceModel.model_validate_json(json.dumps(confidence)),  # JSON lists become tuples
            )
        except ValidationError as error:
            raise RunError(
                "This run was made by another version of fieldmark, and its threshold cannot be read.",
                got=place / DECISION,
                fix=f"delete the folder {place} and run the same `fieldmark train` command; networks are kept.",
            ) from error

    def write(self, folder: Path) -> None:
        """Write the decision into a stage's folder."""
        content = self.threshold.model_dump(mode="json")
        if self.groups is not None:
            content["groups"] = self.groups.model_dump(mode="json")
        if self.confidence_model is not None:
            content["confidence_model"] = self.confidence_model.model_dump(mode="json")
        write_json(folder / DECISION, content)

    def at(self, photos: Collection) -> UnknownScore:
        """Return the threshold of each photo, or the common threshold."""
        return self.threshold.at if self.groups is None else self.groups.at(names_of(photos, self.groups.column))

    def confidence(self, scores: Float32[np.ndarray, "photo identity"]) -> Confidence | None:
        """Return the confidence of the answers from these scores; None without a model of confidence."""
        return None if self.confidence_model is None or not len(scores) else self.confidence_model.of(scores)


def names_of(photos: Collection, column: str) -> list[str | None]:
    """Return the value of a table column for each photo; None if the value or the column is missing."""
    if column not in photos.table.columns:
        return [None] * len(photos)
    return photos.table[column].cast(pl.String).to_list()


class Ranking(Predictions):
    """Scores and first candidates of validation and new photos, and the threshold fitted on validation photos."""

    def write(
        self,
        known: Collection,
        *,
        scores: Float32[np.ndarray, "photo identity"],
        decision: Decision,
        k: int,
        confidence: Confidence | None = None,
    ) -> None:
        """Write the ranking of the validation photos.

        Args:
            known: Validation photos.
            scores: Scores of the validation photos.
            decision: Threshold and calibration.
            k: Number of candidates per photo.
            confidence: Out-of-fold confidence of the answers.
        """
        decision.write(self.folder)
        np.save(self.folder / SCORES, scores)
        table = ranking_table(
            "validation", known.images, scores, decision.at(known), k, known.vocabulary, confidence=confidence
        )
        table.write_parquet(self.folder / RANKING)

    @cached_property
    def scores(self) -> Float32[np.ndarray, "photo identity"]:
        """The scores of the validation photos, in row order."""
        return np.load(self.folder / SCORES, allow_pickle=False)

    @cached_property
    def decision(self) -> Decision:
        """The threshold and the calibration."""
        return Decision.read(self.folder)

    def table(self, part: Literal["validation", "new"]) -> pl.DataFrame:
        """Return the first candidates of the validation or the new photos; see ``ranking_table``."""
        return pl.read_parquet(self.folder / RANKING).filter(pl.col("part") == part)

    def keep(self, value: RankedPhotos, context: Context) -> str:
        """Write the scores and candidates of the new photos.

        The model of confidence is fitted on out-of-fold scores. It does not hold for new photos that a network was
        trained on, so their confidence is left out.
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
        """Return the scores of the new photos.

        Raises:
            RunError: An older version ran the stage and did not store the scores.
        """
        del context
        if not (self.folder / NEW_SCORES).exists():
            raise RunError(
                "The run lacks the ranking scores of the new photos: an older version of fieldmark made it.",
                got=self.folder,
                fix=f"delete the folder {self.folder} and run the same `fieldmark train` command again.",
            )
        return RankedPhotos(np.load(self.folder / NEW_SCORES, allow_pickle=False), k=self.decision.threshold.k)

    def write_submission(self, folder: Path, context: Context) -> str:
        """Write ``submission.csv`` in the format of the Humpback contest, or a table if names have spaces."""
        ranking, images = self.table("new"), [] if context.new is None else context.new.images
        if with_blanks(ranking):
            table = ranking.sort("image", "place").drop("part")
            write_answers_csv(folder / RANKED, table.iter_rows(), table.columns, for_people=True)
            return f"{len(images)} photos in {RANKED}; no {SUBMISSION}, because some names have spaces"
        write_text(folder / SUBMISSION, ranking_submission(ranking, images=images))
        return f"{len(images)} photos in {SUBMISSION}"


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
    """Return a table with one row per photo and candidate.

    The columns are part, image, place (1 is first), identity (name), score, known_proba and right_proba. The last two
    are per photo: the probability that the individual is a known one, and that the first candidate is right. They are
    out-of-fold for validation photos, and null if they were not fitted.
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
