"""The verb *cut*: probabilities become answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.specs import CutoffRule, GroupF2
from fieldmark.stages.job import Job
from fieldmark.stages.scored import known_proba, new_proba

if TYPE_CHECKING:
    from fieldmark.decisions.cutoffs import Cutoffs

CUTOFFS = "cutoffs.json"
ANSWERS = "answers.parquet"


class Cut(Spec):
    """Say which labels a photo has: cutoffs given, or found on out-of-fold scores.

    Attributes:
        reads_from: A stage with scores.
        rule: The cutoffs, or how to find them.
    """

    verb: Literal["cut"] = "cut"
    name: str
    reads_from: str
    rule: CutoffRule = GroupF2()

    def reads(self) -> tuple[str, ...]:
        """The stage with scores."""
        return (self.reads_from,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``cutoffs.json`` and ``answers.parquet`` (part, image, label, proba)."""
        from fieldmark.decisions.cutoffs import cut, find_cutoffs

        vocabulary = job.known.vocabulary
        groups, names = label_groups(vocabulary), list(vocabulary.tags)
        proba = known_proba(job, self.reads_from)
        found = find_cutoffs(
            self.rule,
            proba,
            job.known.truth,
            groups=groups,
            names=names,
            seed=job.seed,
            photo_groups=job.known.groups,
        )
        write_text(folder / CUTOFFS, found.model_dump_json(indent=1) + "\n")
        parts = [answer_table("known", job.known.images, proba, cut(found, proba, groups=groups, names=names), names)]
        if job.new is not None and len(job.new):
            fresh = new_proba(job, self.reads_from)
            parts.append(
                answer_table("new", job.new.images, fresh, cut(found, fresh, groups=groups, names=names), names)
            )
        pl.concat(parts).write_parquet(folder / ANSWERS)
        return told(found)


def label_groups(vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """The columns of each label group."""
    return {name: np.array(columns, dtype=np.int64) for name, columns in vocabulary.groups.items()}


def answer_table(part: str, images: list[str], proba: np.ndarray, answer: np.ndarray, names: list[str]) -> pl.DataFrame:
    """One row a photo and label that it was given, the likeliest label first."""
    rows, columns = np.nonzero(answer)
    values = proba[rows, columns]
    order = np.lexsort((-values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    return pl.DataFrame(
        {
            "part": pl.Series([part] * len(rows), dtype=pl.String),
            "image": pl.Series([images[row] for row in rows], dtype=pl.String),
            "label": pl.Series([names[column] for column in columns], dtype=pl.String),
            "proba": pl.Series(values, dtype=pl.Float32),
        }
    )


def told(found: Cutoffs) -> str:
    """Cutoffs in one line."""
    return str(found)
