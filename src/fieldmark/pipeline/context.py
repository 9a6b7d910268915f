"""The context of a run: folder, plan, photos, finished stages and settings of the computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fieldmark.core.errors import RunError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.core.spec import read_spec
from fieldmark.data.collection import Collection
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.base import Artifact
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.regions import Regions
from fieldmark.pipeline.plan import Plan

if TYPE_CHECKING:
    from fieldmark.pipeline.stage import Stage

PLAN = "plan.json"
KNOWN = "collection"
NEW = "new"
ArtifactT = TypeVar("ArtifactT", bound=Artifact)


@dataclass(frozen=True)
class Context:
    """An unfinished or finished run.

    Attributes:
        run: Run folder with the finished stages.
        plan: Plan of the run.
        known: Known photos: training, validation and gallery.
        new: New photos to predict, or None.
        seed: Random seed of the run.
        device: Device, such as ``auto``, ``cpu`` or ``cuda``.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.
        features: Folder that caches features of frozen networks; None: no cache.
        work: Folders of stages that are being fitted, by stage name.
    """

    run: RunFolder
    plan: Plan
    known: Collection
    new: Collection | None
    seed: int
    device: str = "auto"
    n_workers: int = 2
    progress: Progress = field(default=QUIET)
    features: Path | None = None
    work: Mapping[str, Path] = field(default_factory=dict)
    _opened: dict[str, Artifact] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, folder: Path | str) -> Context:
        """Open the run in ``folder``: plan, photos and seed.

        Raises:
            RunError: The folder has no run.
        """
        folder = Path(folder)
        run = RunFolder.open(folder)
        if not (folder / PLAN).exists():
            raise RunError(
                "This run has no plan yet: it was interrupted at its start.",
                got=folder,
                fix="run the same `fieldmark train` command again.",
            )
        plan: Plan = read_spec(Plan, folder / PLAN)
        new = Collection.open(folder / NEW) if (folder / NEW).exists() else None
        return cls(run=run, plan=plan, known=Collection.open(folder / KNOWN), new=new, seed=int(run.key["seed"]))

    @property
    def stages(self) -> Mapping[str, Stage]:
        """The plan's stages by name."""
        return {stage.name: stage for stage in self.plan.stages}

    @property
    def n_new(self) -> int:
        """The number of new photos."""
        return 0 if self.new is None else len(self.new)

    @property
    def pace(self) -> dict[str, Any]:
        """The keyword arguments ``n_workers`` and ``progress`` of functions that process many photos."""
        return {"n_workers": self.n_workers, "progress": self.progress}

    def folder(self, name: str) -> Path:
        """Return the folder of a stage that is finished or being fitted. The files of a finished stage are checked.

        Raises:
            RunError: The stage is not finished, or a file is missing or damaged.
        """
        return self.work[name] if name in self.work else self.run.stage(name)

    def artifact(self, kind: type[ArtifactT], name: str) -> ArtifactT:
        """Return the artifact of the stage ``name``. The artifact is opened once, so its data is loaded once.

        Raises:
            RunError: The stage is not finished, or a file is missing or damaged.
            TypeError: The artifact is of another kind.
        """
        if name not in self._opened:
            self._opened[name] = self.stages[name].output.open(self.folder(name))
        found = self._opened[name]
        if not isinstance(found, kind):
            raise TypeError(f"'{name}' writes {type(found).__name__}, not {kind.__name__}")
        return found

    def folds(self, stage: Stage) -> Folds:
        """Return the folds that validate a stage: those of the first split stage that it reads, directly or indirectly.

        Raises:
            TypeError: The stage reads no split stage.
        """
        for setting, names in stage.named().items():
            if issubclass(stage.refs()[setting].artifact, Folds) and names:
                return self.artifact(Folds, names[0])
        for name in stage.reads():
            return self.folds(self.stages[name])
        raise TypeError(f"'{stage.name}' reads no split stage")

    def said(self, name: str) -> str:
        """Return the summary line of a finished stage."""
        return str(self.run.receipt(name)["said"])

    def up_to(self, name: str) -> Context:
        """Return the run with only the stages that the stage ``name`` needs, and those that find regions."""
        return replace(self, plan=self.plan.up_to(name))

    def computing(self, *, device: str = "auto", n_workers: int = 2, progress: Progress = QUIET) -> Context:
        """Return the run with other settings of the computation."""
        return replace(self, device=device, n_workers=n_workers, progress=progress)

    def fresh(self, **changed: Any) -> Context:
        """Return the context with some attributes changed, and without cached artifacts."""
        return replace(self, _opened={}, **changed)

    def with_regions(self) -> Context:
        """Return the run with the regions that its finished stages found added to its photos."""
        context = self
        for stage in self.plan.stages:
            if stage.changes_photos:
                context = context.seen_by(stage)
        return context

    def seen_by(self, stage: Stage) -> Context:
        """Return the run with the regions that this stage found added to its photos."""
        regions = self.artifact(Regions, stage.name)
        new = self.new if self.new is None or not len(self.new) else regions.marked(self.new, part="new")
        return replace(self, known=regions.marked(self.known, part="known"), new=new)

    def of_new(self) -> Application:
        """Return the application of the fitted stages to the run's own new photos. Stored results are read.

        Raises:
            TypeError: The run has no new photos.
        """
        if self.new is None:
            raise TypeError("the run has no new photos")
        return Application(self, self.new, own=True, together=True)
