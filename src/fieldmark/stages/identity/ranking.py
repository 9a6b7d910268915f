"""What stages that rank individuals leave, and how later stages read it.

Such a stage (``rank``, ``blend``, ``think_again``, ``stack_identities``) writes ``validation.npy`` and ``new.npy`` (a
score of each individual for each photo), ``decision.json`` (thresholds, and how scores become probabilities) and
``ranking.parquet`` (the first answers of both).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from pydantic import ValidationError

from fieldmark.core.errors import RunError
from fieldmark.core.files import read_json, write_json
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.calibrated import Sure, Sureness, crossed_sureness, sureness
from fieldmark.decisions.grouped import GroupThresholds, find_by_group
from fieldmark.decisions.ranking import UnknownScore, candidates
from fieldmark.decisions.specs import Calibration, PerGroup, UnknownAt
from fieldmark.decisions.thresholds import Threshold, find
from fieldmark.stages.apart import learnt_from
from fieldmark.stages.job import Job

RANKING = "ranking.parquet"
DECISION = "decision.json"
SCORES = "validation.npy"
NEW_SCORES = "new.npy"


@dataclass(frozen=True)
class Decision:
    """Where "nobody we know" stands, and how sure answers are.

    Attributes:
        threshold: For all photos.
        groups: Of groups of photos; None without.
        sureness: Scores to probabilities; None where it was not learnt.
    """

    threshold: Threshold
    groups: GroupThresholds | None = None
    sureness: Sureness | None = None

    @classmethod
    def read(cls, place: Path) -> Decision:
        """The decision in a stage's folder.

        Raises:
            RunError: Another version of fieldmark wrote it.
        """
        told = dict(read_json(place / DECISION))
        groups, sure = told.pop("groups", None), told.pop("sureness", None)
        try:
            return cls(
                Threshold.model_validate(told),
                None if groups is None else GroupThresholds.model_validate(groups),
                None if sure is None else Sureness.model_validate_json(json.dumps(sure)),  # JSON lists are its tuples
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
        if self.sureness is not None:
            told["sureness"] = self.sureness.model_dump(mode="json")
        write_json(folder / DECISION, told)

    def at(self, photos: Collection) -> UnknownScore:
        """The threshold of each photo, or the one of all."""
        return self.threshold.at if self.groups is None else self.groups.at(names_of(photos, self.groups.column))

    def sure(self, scores: Float32[np.ndarray, "photo identity"]) -> Sure | None:
        """How sure the answers from these scores are."""
        return None if self.sureness is None or not len(scores) else self.sureness.of(scores)


def names_of(photos: Collection, column: str) -> list[str | None]:
    """The group of each photo; None where the photos' table does not tell."""
    if column not in photos.table.columns:
        return [None] * len(photos)
    return photos.table[column].cast(pl.String).to_list()


def write_ranked(  # noqa: PLR0913 - keywords, all of one decision
    folder: Path,
    job: Job,
    *,
    by: str,
    rows: Int64[np.ndarray, " photo"],
    truth: Int64[np.ndarray, " photo"],
    scores: Float32[np.ndarray, "photo identity"],
    new_scores: Float32[np.ndarray, "photo identity"] | None,
    unknown: UnknownAt,
    k: int,
    per_group: PerGroup | None = None,
    sure: Calibration | None = None,
) -> Decision:
    """Decide on the validation photos, and write all that a ranking stage leaves.

    Args:
        folder: Of the stage.
        job: The run.
        by: The stage's name.
        rows: Which known photos are validation.
        truth: The class of each, as ``judged_classes`` has it.
        scores: Theirs.
        new_scores: Of the new photos.
        unknown: The rule of the threshold.
        k: Answers a photo.
        per_group: Thresholds a group; None: one for all.
        sure: How scores become probabilities; None: not at all.
    """
    known = job.known
    judges = known.take(rows)
    told = truth >= -1  # of photos without a name nothing can be learnt
    groups = None
    if per_group is not None:
        names = names_of(judges, per_group.column)
        groups = find_by_group(
            unknown, scores[told], truth[told], [names[row] for row in np.flatnonzero(told)], per=per_group, k=k
        )
    threshold = find(unknown, scores[told], truth[told], k=k) if groups is None else groups.common
    learnt = None if sure is None else sureness(scores[told], truth[told], by=sure)
    decision = Decision(threshold, groups, learnt)
    crossed = None
    if sure is not None:
        found = crossed_sureness(scores[told], truth[told], by=sure, groups=judges.groups[told])
        crossed = Sure(known=_spread(found.known, told), right=_spread(found.right, told))
    write_decided(
        folder, job, by=by, rows=rows, scores=scores, new_scores=new_scores, decision=decision, k=k, crossed=crossed
    )
    return decision


def write_decided(
    folder: Path,
    job: Job,
    *,
    by: str,
    rows: Int64[np.ndarray, " photo"],
    scores: Float32[np.ndarray, "photo identity"],
    new_scores: Float32[np.ndarray, "photo identity"] | None,
    decision: Decision,
    k: int,
    crossed: Sure | None = None,
) -> None:
    """Write scores and rankings by a decision that stands already; ``crossed``: how sure validation answers are.

    How sure an answer is was learnt on photos that no network had seen: of new photos that one has learnt from, it is
    not told.
    """
    decision.write(folder)
    np.save(folder / SCORES, scores)
    judges, vocabulary = job.known.take(rows), job.known.vocabulary
    parts = [ranking_table("validation", judges.images, scores, decision.at(judges), k, vocabulary, sure=crossed)]
    if job.new is not None and len(job.new) and new_scores is not None:
        np.save(folder / NEW_SCORES, new_scores)
        sure, learnt = decision.sure(new_scores), learnt_from(job, by)
        if sure is not None:
            sure = Sure(known=np.where(learnt, np.nan, sure.known), right=np.where(learnt, np.nan, sure.right))
        parts.append(ranking_table("new", job.new.images, new_scores, decision.at(job.new), k, vocabulary, sure=sure))
    pl.concat(parts).write_parquet(folder / RANKING)


def new_scores_of(place: Path, job: Job) -> Float32[np.ndarray, "photo identity"] | None:
    """A ranking stage's scores of the new photos; None without new photos.

    Raises:
        RunError: There are new photos, but the stage was run by an older version, which did not keep them.
    """
    if job.new is None or not len(job.new):
        return None
    if not (place / NEW_SCORES).exists():
        raise RunError(
            "The ranking's scores of the new photos were not kept by the version that made them.",
            got=place,
            fix=f"delete the folder {place} and run the same `fieldmark train` command again.",
        )
    return np.load(place / NEW_SCORES, allow_pickle=False)


def ranking_table(
    part: str,
    images: Sequence[str],
    scores: Float32[np.ndarray, "query identity"],
    unknown_at: UnknownScore,
    k: int,
    vocabulary: Vocabulary,
    *,
    sure: Sure | None = None,
) -> pl.DataFrame:
    """One row a photo and place: part, image, place (1 is first), identity (by name), score, known_proba, right_proba.

    The last two are the photo's: the probability that its animal is one we know, and that the first name is right; of
    validation photos by curves that have not seen them. Null where they were not learnt.
    """
    names = vocabulary.identities
    known, right = (None, None) if sure is None else (sure.known.tolist(), sure.right.tolist())
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


def _spread(values: np.ndarray, told: np.ndarray) -> np.ndarray:
    whole = np.full(len(told), np.nan)
    whole[told] = values
    return whole
