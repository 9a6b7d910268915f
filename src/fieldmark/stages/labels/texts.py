"""The stage *texts*: predicts answers from the text columns of the table, without the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from fieldmark.core.errors import PlanError, nearest
from fieldmark.data.collection import Collection
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stacking.specs import MiniLm, NGrams, TextModel
from fieldmark.stages.common.questions import labelled_truth

if TYPE_CHECKING:
    from fieldmark.stacking.texts import FittedTextModel

URL = "url"


@stage
class Texts(Stage):
    """Predict answers from text columns of the table, such as product names and descriptions.

    Attributes:
        on: Split stage.
        columns: Text columns that new photos will have too.
        leaks: Text columns that leak the answer unintentionally, such as the words of a URL. They are used only if they
            are named here.
        by: Text model.
    """

    output = LabelScores
    kind: Literal["texts"] = "texts"
    on: Annotated[str, Ref(Folds)]
    columns: tuple[str, ...] = ("text",)
    leaks: tuple[str, ...] = ()
    by: TextModel = NGrams()

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Check that the columns exist and that the text encoder can be loaded, before any training.

        Raises:
            PlanError: The table lacks a column of ``leaks``.
            FieldmarkError: A package or weights are missing.
        """
        del new
        if lacking := [column for column in self.leaks if column not in known.table.columns]:
            raise PlanError(
                f"Stage '{self.name}' names columns in 'leaks' that the table does not have.",
                got=f"{', '.join(lacking)}; the table has {', '.join(known.table.columns)}",
                fix=f"{nearest(lacking[0], known.table.columns)} Or --column {lacking[0]}=NAME.",
            )
        if isinstance(self.by, MiniLm):
            from fieldmark.models.text_encoder import TextEncoder

            TextEncoder.load()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the out-of-fold scores, and the text model of each fold."""
        from fieldmark.stacking.texts import cross

        known, vocabulary, left = context.known, context.known.vocabulary, LabelScores(folder)
        fold = context.artifact(Folds, self.on).fold
        proba, models = cross(
            self.read(known), labelled_truth(known), vocabulary.question_of, fold, by=self.by, seed=context.seed
        )
        for k, one in enumerate(models):
            (folder / f"judge{k}").mkdir(exist_ok=True)
            one.save(folder / f"judge{k}")
        absent = self.absent(known)
        left.write_known_absent(absent)
        left.write(MEAN, known, labels=vocabulary.tags, fold=fold, proba=proba)
        n_absent = int(absent.sum())
        leaks = f"; leaking columns used: {', '.join(self.leaks)}" if self.leaks else ""
        return f"{len(known) - n_absent:,} of {len(known):,} photos have a text{leaks}"

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Return the probabilities of any photos from their texts, by the model of each fold."""
        texts = self.read(ask.photos)
        by_fold = np.stack([one.proba(texts) for one in self._models(ask.context.folder(self.name))])
        return ScoredPhotos(MemberScores(ask.context.known.vocabulary.tags, by_fold), self.absent(ask.photos))

    def written(self, photos: Collection) -> list[str]:
        """Return the text of each photo; empty if its columns are missing or empty."""
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
        """Return the input of the text model: the texts themselves, or their embeddings."""
        written = self.written(photos)
        if not isinstance(self.by, MiniLm):
            return written
        from fieldmark.models.text_encoder import TextEncoder

        return TextEncoder.load().encode(written, max_tokens=self.by.max_tokens)

    def absent(self, photos: Collection) -> Bool[np.ndarray, " photo"]:
        """Return which photos have no text."""
        return np.array([not one.strip() for one in self.written(photos)], dtype=np.bool_)

    def _models(self, folder: Path) -> list[FittedTextModel]:
        """Return the text models, one per fold."""
        from fieldmark.stacking.texts import FittedTextModel

        places = sorted(folder.glob("judge*"), key=lambda path: int(path.name[len("judge") :]))
        return [FittedTextModel.load(place) for place in places]
