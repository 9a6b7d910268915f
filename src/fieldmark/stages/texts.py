"""The verb *texts*: answers guessed from what is written about a photo, without looking at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.stacking.specs import MiniLm, NGrams, TextModel
from fieldmark.stages.asked import told_truth
from fieldmark.stages.job import Job
from fieldmark.stages.scored import KNOWN_ABSENT, MEAN, write_absent, write_scored
from fieldmark.stages.split import read_folds

if TYPE_CHECKING:
    from fieldmark.stacking.texts import TextJudge
    from fieldmark.stages.engine import Opened

URL = "url"


class Texts(Spec):
    """Answer questions from the table's texts: product names, descriptions, and whatever leaks if it is named.

    Attributes:
        on: The split stage.
        columns: Of text that will be there for new photos too, and may be used.
        leaks: Columns of text that tell the answer without being meant to, as the words of an address do. They are used
            only where they are named here.
        by: The model.
    """

    verb: Literal["texts"] = "texts"
    name: str
    on: str
    columns: tuple[str, ...] = ("text",)
    leaks: tuple[str, ...] = ()
    by: TextModel = NGrams()

    def reads(self) -> tuple[str, ...]:
        """The split stage."""
        return (self.on,)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of its models, in the order in which later stages read their scores: all folds count as one."""
        return (MEAN,)

    def ready(self, known: Collection) -> None:
        """Look for the columns, and load what understands the texts: what is missing is missed before any training.

        Raises:
            PlanError: The table has not all columns of ``leaks``.
            FieldmarkError: A package or weights are missing.
        """
        if lacking := [column for column in self.leaks if column not in known.table.columns]:
            raise PlanError(
                f"{self.name}: the table has no column of that name to answer from.",
                got=f"{', '.join(lacking)}; the table has {', '.join(known.table.columns)}",
                fix=f"{nearest(lacking[0], known.table.columns)} Or --column {lacking[0]}=NAME.",
            )
        if isinstance(self.by, MiniLm):
            from fieldmark.models.text_encoder import TextEncoder

            TextEncoder.load()

    def run(self, job: Job, folder: Path) -> str:
        """Write out-of-fold scores as a score stage does, and the text models in ``judge<k>/``."""
        from fieldmark.stacking.texts import cross

        known, vocabulary = job.known, job.known.vocabulary
        fold = read_folds(job, self.on)
        truth = told_truth(known)
        proba, judges = cross(self.read(known), truth, vocabulary.question_of, fold, by=self.by, seed=job.seed)
        for k, one in enumerate(judges):
            (folder / f"judge{k}").mkdir(exist_ok=True)
            one.save(folder / f"judge{k}")
        if (silent := self.absent(known)).any():
            np.save(folder / KNOWN_ABSENT, silent)
        new = None
        if job.new is not None and len(job.new):
            of_new = self.read(job.new)
            new = np.stack([one.proba(of_new) for one in judges])
            write_absent(folder, job, self.absent(job.new))
        write_scored(folder, MEAN, job, columns=vocabulary.tags, fold=fold, proba=proba, new=new)
        n_silent = int(silent.sum())
        leaks = f", leaks used: {', '.join(self.leaks)}" if self.leaks else ""
        return f"{len(known) - n_silent:,} of {len(known):,} photos have a text{leaks}"

    def written(self, photos: Collection) -> list[str]:
        """The text of each photo; empty where its columns are missing or empty."""
        from fieldmark.stacking.texts import url_text

        table = photos.table
        parts = []
        for column in (*self.columns, *self.leaks):
            if column in table.columns:
                cells = table[column].cast(pl.String, strict=False).fill_null("").to_list()
                parts.append([url_text(cell) if column == URL else cell for cell in cells])
        if not parts:
            return [""] * len(photos)
        return [" ".join(part for part in cells if part) for cells in zip(*parts, strict=True)]

    def read(self, photos: Collection) -> list[str] | Float32[np.ndarray, "photo dim"]:
        """The texts as the model takes them: as they are, or as the language model understands them."""
        written = self.written(photos)
        if not isinstance(self.by, MiniLm):
            return written
        from fieldmark.models.text_encoder import TextEncoder

        return TextEncoder.load().encode(written, max_tokens=self.by.max_tokens)

    def absent(self, photos: Collection) -> Bool[np.ndarray, " photo"]:
        """Which photos have no text."""
        return np.array([not one.strip() for one in self.written(photos)], dtype=np.bool_)

    def proba(self, opened: Opened, photos: Collection) -> Float32[np.ndarray, "photo answer"]:
        """What a finished stage's models say of other photos; the mean over folds."""
        read = self.read(photos)
        return np.mean([one.proba(read) for one in self.judges(opened)], axis=0).astype(np.float32)

    def judges(self, opened: Opened) -> list[TextJudge]:
        """The models, one a fold."""
        from fieldmark.stacking.texts import TextJudge

        places = opened.run.stage(self.name).glob("judge*")
        return [TextJudge.load(place) for place in sorted(places, key=lambda path: int(path.name[len("judge") :]))]
