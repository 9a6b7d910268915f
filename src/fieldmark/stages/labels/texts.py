"""The kind *texts*: answers guessed from what is written about a photo, without looking at it."""

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
    """Answer questions from the table's texts: product names, descriptions, and whatever leaks if it is named.

    Attributes:
        on: The split stage.
        columns: Of text that will be there for new photos too, and may be used.
        leaks: Columns of text that tell the answer without being meant to, as the words of an address do. They are used
            only where they are named here.
        by: The model.
    """

    output = LabelScores
    kind: Literal["texts"] = "texts"
    on: Annotated[str, Ref(Folds)]
    columns: tuple[str, ...] = ("text",)
    leaks: tuple[str, ...] = ()
    by: TextModel = NGrams()

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Look for the columns, and load what understands the texts: what is missing is missed before any training.

        Raises:
            PlanError: The table has not all columns of ``leaks``.
            FieldmarkError: A package or weights are missing.
        """
        del new
        if lacking := [column for column in self.leaks if column not in known.table.columns]:
            raise PlanError(
                f"{self.name}: the table has no column of that name to answer from.",
                got=f"{', '.join(lacking)}; the table has {', '.join(known.table.columns)}",
                fix=f"{nearest(lacking[0], known.table.columns)} Or --column {lacking[0]}=NAME.",
            )
        if isinstance(self.by, MiniLm):
            from fieldmark.models.text_encoder import TextEncoder

            TextEncoder.load()

    def fit(self, context: Context, folder: Path) -> str:
        """Write out-of-fold scores, and the text models of each fold."""
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
        leaks = f", leaks used: {', '.join(self.leaks)}" if self.leaks else ""
        return f"{len(known) - n_absent:,} of {len(known):,} photos have a text{leaks}"

    def apply(self, ask: Ask) -> ScoredPhotos:
        """What the models of each fold say of any photos, from their texts."""
        texts = self.read(ask.photos)
        by_fold = np.stack([one.proba(texts) for one in self._models(ask.context.folder(self.name))])
        return ScoredPhotos(MemberScores(ask.context.known.vocabulary.tags, by_fold), self.absent(ask.photos))

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

    def _models(self, folder: Path) -> list[FittedTextModel]:
        """The models, one a fold."""
        from fieldmark.stacking.texts import FittedTextModel

        places = sorted(folder.glob("judge*"), key=lambda path: int(path.name[len("judge") :]))
        return [FittedTextModel.load(place) for place in places]
