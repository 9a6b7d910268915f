"""A finished run that answers photos: networks and galleries are loaded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from fieldmark.api.guards import need_torch, sensible
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
    """A finished run, ready to answer photos.

    Networks, galleries and second levels are loaded when they are first needed, and stay in memory.

    Args:
        context: The run.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Number of image-loading threads.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        RunError: The run is not finished, or lacks something it needs to answer.

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
            context.folder(stage.name)  # finished and whole, or it is told now
            stage.usable(context)
        self.context = context.with_regions()
        self.task: Task = task_of(context.plan)
        self._final = final

    @classmethod
    def open(
        cls, run: Path | str, *, device: str = "auto", n_workers: int = 2, progress: ShowProgress = None
    ) -> Predictor:
        """The predictor of the run in a folder.

        Raises:
            RunError: No run lies there, or it is not finished.
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
        """Answer photos.

        Args:
            data: A path, bytes of a file, a PIL image, an array (height, width, 3) of uint8, several of them; a
                folder, a table or a collection.
            k: Identification: number of candidates per photo; None for as many as the run was trained with.
            most: Number of labels per photo, or of other answers beside each; None for 15 and 2.
            **reading: How to read a table or folder; see ``fieldmark.api.photos.Reading``.

        Returns:
            One answer per photo, in their order: ``Identification``, ``Tagged`` or ``Answered``; a path that is given
            twice is answered once. They are a list that also becomes a data frame (``to_polars()``, ``to_pandas()``).

        Raises:
            DataError: A photo does not exist or cannot be read.
            FieldmarkError: A photo is of a type that cannot be read, or ``k`` or ``most`` has no meaning for the run.
        """
        sensible(k, most)
        self.task.refuse_options(k=k, most=most)
        with photos_of(data) as given:
            return self.answered(self.gathered(given, **reading), k=k, most=most)

    def embed(
        self, data: Collection | Photo | Sequence[Photo], **reading: Unpack[Reading]
    ) -> Float32[np.ndarray, "photo dim"]:
        """Unit-length embeddings of photos, by the first network of the run.

        Of a run that identifies those of all views side by side, as its gallery compares them: the product of two rows
        is the mean cosine over views.

        Args:
            data: As for a call.
            **reading: As for a call.
        """
        import numpy as np

        with photos_of(data) as given:
            photos = gather(given, labelled=False, reading=reading, decode=False, **self.context.pace)
            views = self._applied(photos, self._views)
        rows = np.moveaxis(views, 0, 1).reshape(views.shape[1], -1)
        return np.ascontiguousarray(rows / np.float32(np.sqrt(len(views))), np.float32)

    def _views(self, application: Application) -> Float32[np.ndarray, "view photo dim"]:
        """The embeddings of photos by the first network."""
        from fieldmark.pipeline.artifacts.models import Models
        from fieldmark.pipeline.networks import look

        shown = getattr(self._final, "shown", None)
        name = None if shown is None else shown(self.context.stages)
        if name is not None:
            return application.value(name).embedding[0]
        models = self.context.plan.leaving(Models)
        if not models:
            raise RunError(
                "This run has no network that embeds photos.",
                got=", ".join(stage.kind for stage in self.context.plan.stages),
                fix="use a run that trains on photos.",
            )
        nets = self.context.artifact(Models, models[0].name).nets(self.context.device)
        return look(nets[:1], application.photos, flip=False, **self.context.pace)[0].embedding

    def evaluate(self, data: Collection | Path | str, **reading: Unpack[Reading]) -> tuple[Measure, ...]:
        """How good the run is on photos with ground truth; those it was trained on are left out.

        Args:
            data: A table, a folder of folders, or a collection.
            **reading: How to read it.

        Raises:
            DataError: The photos have mistakes, or none is left to evaluate by.
        """
        photos = gather(data, labelled=True, reading=reading, **self.context.pace)
        photos.tell(self.context.progress, self.context.plan)
        return self.task.evaluated(self.context, photos.collection, self.context.progress)

    def gathered(self, data: Collection | Path | str, **reading: Unpack[Reading]) -> Photos:
        """Photos to answer; those without a file among them where the task answers such.

        Only their headers are read: the stages decode them.
        """
        gone_too = not self.task.needs_files
        return gather(data, labelled=False, reading=reading, gone_too=gone_too, decode=False, **self.context.pace)

    def answered(self, photos: Photos, *, k: int | None = None, most: int | None = None) -> Results:
        """The answers to photos that were gathered before; says which could not be read.

        Raises:
            DataError: Photos cannot be decoded, and are not to be left out; all are named.
        """
        photos.tell(self.context.progress, self.context.plan)

        def results(application: Application) -> list[Any]:
            return self.task.results(application, k=k, most=most)

        return Results(self.task, self._applied(photos, results), self.context)

    def _applied(self, photos: Photos, what: Callable[[Application], ValueT]) -> ValueT:
        """``what`` of photos; where some cannot be decoded, of the others, or all that cannot are named."""
        from fieldmark.pipeline.application import Application

        try:
            return what(Application(self.context, photos.collection))
        except ImageError:
            if photos.decoded is None:
                raise
        further = photos.further()
        further.tell(self.context.progress, self.context.plan)
        return what(Application(self.context, further.collection))


def load(run: Path | str, *, device: str = "auto", n_workers: int = 2, progress: ShowProgress = None) -> Predictor:
    """A finished run, ready to answer photos; networks are loaded once.

    Args:
        run: The folder of a finished run.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Number of image-loading threads.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        RunError: No run lies there, or it is not finished.

    Example:
        ``fieldmark.load("runs/whales")("photo.jpg")[0].matches``
    """
    return Predictor.open(run, device=device, n_workers=n_workers, progress=progress)
