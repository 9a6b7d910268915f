"""The context of a run: its folder, plan and photos, its finished stages, and how to compute."""

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
    """A run, in the making or finished.

    Attributes:
        run: The run folder; finished stages are read from it.
        plan: Its stages.
        known: The photos to learn from and to compare with.
        new: Photos to answer, or None.
        seed: Random seed of the run.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Number of image-loading threads.
        progress: Where to report progress.
        features: Folder in which features of frozen networks are kept; None: nowhere.
        work: Folders of stages that are being fitted, by name.
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
        """The run in ``folder``: plan, photos and seed.

        Raises:
            RunError: No run lies there.
        """
        folder = Path(folder)
        run = RunFolder.open(folder)
        if not (folder / PLAN).exists():
            raise RunError(
                "That run has hardly begun.", got=folder, fix="run the same `fieldmark train` command again."
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
        """How many new photos there are."""
        return 0 if self.new is None else len(self.new)

    @property
    def pace(self) -> dict[str, Any]:
        """The keywords ``n_workers`` and ``progress`` of functions that look at many photos."""
        return {"n_workers": self.n_workers, "progress": self.progress}

    def folder(self, name: str) -> Path:
        """The folder of a stage that is finished (its files checked), or being fitted.

        Raises:
            RunError: The stage is not finished, or a file is missing or damaged.
        """
        return self.work[name] if name in self.work else self.run.stage(name)

    def artifact(self, kind: type[ArtifactT], name: str) -> ArtifactT:
        """What the stage ``name`` left. The same object each time, so what it has loaded stays loaded.

        Raises:
            RunError: The stage is not finished, or a file is missing or damaged.
            TypeError: It left something else.
        """
        if name not in self._opened:
            self._opened[name] = self.stages[name].output.open(self.folder(name))
        found = self._opened[name]
        if not isinstance(found, kind):
            raise TypeError(f"'{name}' leaves {type(found).__name__}, not {kind.__name__}")
        return found

    def folds(self, stage: Stage) -> Folds:
        """The folds by which a stage is validated: those of the first split stage that it names, or that it is made of.

        Raises:
            TypeError: No split stage is behind it.
        """
        for setting, names in stage.named().items():
            if issubclass(stage.refs()[setting].artifact, Folds) and names:
                return self.artifact(Folds, names[0])
        for name in stage.reads():
            return self.folds(self.stages[name])
        raise TypeError(f"no split stage is behind '{stage.name}'")

    def said(self, name: str) -> str:
        """What a finished stage reported, in one line."""
        return str(self.run.receipt(name)["said"])

    def up_to(self, name: str) -> Context:
        """The run with only the stages that the stage ``name`` is made of, and those that find regions."""
        return replace(self, plan=self.plan.up_to(name))

    def computing(self, *, device: str = "auto", n_workers: int = 2, progress: Progress = QUIET) -> Context:
        """The run with other settings of how to compute."""
        return replace(self, device=device, n_workers=n_workers, progress=progress)

    def fresh(self, **changed: Any) -> Context:
        """The same context with nothing loaded, and some attributes changed."""
        return replace(self, _opened={}, **changed)

    def with_regions(self) -> Context:
        """The run with its photos as its finished stages left them: with regions found on them."""
        context = self
        for stage in self.plan.stages:
            if stage.changes_photos:
                context = context.seen_by(stage)
        return context

    def seen_by(self, stage: Stage) -> Context:
        """The run with its photos as the stage, which changes them, left them."""
        regions = self.artifact(Regions, stage.name)
        new = self.new if self.new is None or not len(self.new) else regions.marked(self.new, part="new")
        return replace(self, known=regions.marked(self.known, part="known"), new=new)

    def of_new(self) -> Application:
        """The fitted stages applied to the run's own new photos; what they kept of them is read.

        Raises:
            TypeError: There are none.
        """
        if self.new is None:
            raise TypeError("the run has no new photos")
        return Application(self, self.new, own=True, together=True)
