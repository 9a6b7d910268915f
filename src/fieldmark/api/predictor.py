"""The class ``Predictor``: a finished run in memory that predicts photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from fieldmark.api.guards import check_counts, need_torch
from fieldmark.api.inputs import Photo, photos_of
from fieldmark.api.photos import Photos, Reading, gather
from fieldmark.api.results import Results
from fieldmark.core.errors import ImageError, RunError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from fieldmark.data.collection import Collection
    from fieldmark.metrics.measure import Measure
    from fieldmark.pipeline.application import Application
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.task import Task

ValueT = TypeVar("ValueT")


class Predictor:
    """A finished run that predicts photos.

    Networks, galleries and second-level models are loaded at the first call, and stay in memory.

    Args:
        context: Context of the run.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        RunError: The run is not finished, or a file or package that it needs is missing.

    Example:
        ``predictor = fieldmark.load("runs/whales"); predictor(["a.jpg", "b.jpg"])``
    """

    def __init__(
        self, context: Context, *, device: str = "auto", n_workers: int = 2, progress: ShowProgress = None
    ) -> None:
        from fieldmark.tasks.task import task_of

        need_torch()
        final = context.plan.answering()
        context = context.up_to(final.name).computing(device=device, n_workers=n_workers, progress=shown_by(progress))
        for stage in context.plan.stages:
            context.folder(stage.name)  # raises an error now if the stage is unfinished or damaged
            stage.usable(context)
        self.context = context.with_regions()
        self.task: Task = task_of(context.plan)
        self._final = final

    @classmethod
    def open(
        cls, run: Path | str, *, device: str = "auto", n_workers: int = 2, progress: ShowProgress = None
    ) -> Predictor:
        """Load the run in a folder.

        Raises:
            RunError: The folder holds no finished run.
        """
        from fieldmark.pipeline.context import Context

        return cls(Context.open(run), device=device, n_workers=n_workers, progress=progress)

    def __call__(
        self,
        data: Collection | Photo | Sequence[Photo],
        *,
        k: int | None = None,
        most: int | None = None,
        **reading: Unpack[Reading],
    ) -> Results:
        """Predict photos.

        Args:
            data: A path, bytes of a file, a PIL image, an array (height, width, 3) of uint8, a list of these, a
                folder, a table or a collection.
            k: Identification: number of candidates per photo; None: as trained.
            most: Tagging: number of labels per photo; None: 15. Attributes: number of alternatives per question;
                None: 2.
            **reading: Options to read a table or folder; see ``fieldmark.api.photos.Reading``.

        Returns:
            One prediction per photo, in their order: ``Identification``, ``Tagged`` or ``Answered``. A path that is
            given twice is predicted once. ``to_polars()`` and ``to_pandas()`` convert the list to a data frame.

        Raises:
            DataError: A photo does not exist or cannot be read.
            FieldmarkError: A photo has an unsupported type, or ``k`` or ``most`` does not apply to the task.
        """
        check_counts(k, most)
        self.task.refuse_options(k=k, most=most)
        with photos_of(data) as given:
            return self.answered(self.gathered(given, **reading), k=k, most=most)

    def embed(
        self, data: Collection | Photo | Sequence[Photo], **reading: Unpack[Reading]
    ) -> Float32[np.ndarray, "photo dim"]:
        """Return unit-length embeddings of photos by the first network of the run.

        For a run that identifies, a row concatenates the embeddings of all views of a photo, as in its gallery: the
        product of two rows is the mean cosine over views.

        Args:
            data: Photos, as for a call.
            **reading: Reading options, as for a call.
        """
        import numpy as np

        with photos_of(data) as given:
            photos = gather(given, labelled=False, reading=reading, decode=False, **self.context.pace)
            views = self._applied(photos, self._views)
        rows = np.moveaxis(views, 0, 1).reshape(views.shape[1], -1)
        return np.ascontiguousarray(rows / np.float32(np.sqrt(len(views))), np.float32)

    def _views(self, application: Application) -> Float32[np.ndarray, "view photo dim"]:
        """Return the embeddings of photos by the first network, for each view."""
        from fieldmark.pipeline.artifacts.models import Models
        from fieldmark.pipeline.networks import look

        shown = getattr(self._final, "shown", None)
        name = None if shown is None else shown(self.context.stages)
        if name is not None:
            return application.value(name).embedding[0]
        models = self.context.plan.leaving(Models)
        if not models:
            raise RunError(
                "The run has no network that embeds photos.",
                got=", ".join(stage.kind for stage in self.context.plan.stages),
                fix="use a run that trains on photos.",
            )
        nets = self.context.artifact(Models, models[0].name).nets(self.context.device)
        return look(nets[:1], application.photos, flip=False, **self.context.pace)[0].embedding

    def evaluate(self, data: Collection | Path | str, **reading: Unpack[Reading]) -> tuple[Measure, ...]:
        """Return the measures of the run on labelled photos, without the photos it was trained on.

        Args:
            data: A table, a folder of folders, or a collection.
            **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

        Raises:
            DataError: The table has errors, or no photo is left for the evaluation.
        """
        photos = gather(data, labelled=True, reading=reading, **self.context.pace)
        photos.report(self.context.progress, self.context.plan)
        return self.task.evaluated(self.context, photos.collection, self.context.progress)

    def gathered(self, data: Collection | Path | str, **reading: Unpack[Reading]) -> Photos:
        """Return the photos of ``data``, including those without a file if the task can predict them.

        Only the headers are read; the stages decode the photos.
        """
        keep_missing = not self.task.needs_files
        return gather(
            data, labelled=False, reading=reading, keep_missing=keep_missing, decode=False, **self.context.pace
        )

    def answered(self, photos: Photos, *, k: int | None = None, most: int | None = None) -> Results:
        """Return the predictions for photos of ``gathered``, and report photos that cannot be read.

        Raises:
            DataError: Photos cannot be decoded and ``skip_broken`` is False; the error lists all.
        """
        photos.report(self.context.progress, self.context.plan)

        def results(application: Application) -> list[Any]:
            return self.task.results(application, k=k, most=most)

        return Results(self.task, self._applied(photos, results), self.context)

    def _applied(self, photos: Photos, compute: Callable[[Application], ValueT]) -> ValueT:
        """Apply ``compute`` to photos. If some cannot be decoded, skip them, or raise an error that lists all."""
        from fieldmark.pipeline.application import Application

        try:
            return compute(Application(self.context, photos.collection))
        except ImageError:
            if photos.decoded is None:
                raise
        further = photos.further()
        further.report(self.context.progress, self.context.plan)
        return compute(Application(self.context, further.collection))


def load(run: Path | str, *, device: str = "auto", n_workers: int = 2, progress: ShowProgress = None) -> Predictor:
    """Load a finished run once, to predict photos many times.

    Args:
        run: Folder of a finished run.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        RunError: The folder holds no finished run.

    Example:
        ``fieldmark.load("runs/whales")("photo.jpg")[0].matches``
    """
    return Predictor.open(run, device=device, n_workers=n_workers, progress=progress)
