"""A finished run as a tagger: labels for any photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.spec import read
from fieldmark.data.collection import Collection
from fieldmark.decisions.cutoffs import cut
from fieldmark.decisions.specs import Cutoffs
from fieldmark.stages.engine import Opened, open_run
from fieldmark.stages.labels.cut import CUTOFFS, Cut, label_groups
from fieldmark.stages.voices import Voices


@dataclass(frozen=True)
class Tag:
    """A label of a photo: its group, its probability, and whether the cutoffs give it to the photo."""

    label: str
    group: str
    proba: float
    given: bool


@dataclass(frozen=True)
class Tagged:
    """What is on one photo: the likeliest labels, best first; those that are ``given`` are the answer."""

    image: str
    file: Path
    tags: tuple[Tag, ...]

    @property
    def answer(self) -> tuple[str, ...]:
        """The labels that the photo is given."""
        return tuple(tag.label for tag in self.tags if tag.given)


class Tagger:
    """Networks, trees and cutoffs of a finished run.

    Args:
        opened: The run.
        device: Where to compute.

    Example:
        ``Tagger.open(Path("runs/museum")).tag(photos)``
    """

    def __init__(self, opened: Opened, *, device: str = "auto") -> None:
        self.opened = opened
        self.cut = opened.plan.only(Cut)
        self.cutoffs: Cutoffs = read(Cutoffs, opened.run.stage(self.cut.name) / CUTOFFS)
        self.voices = Voices(opened, device=device)

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto") -> Tagger:
        """The tagger in a run folder.

        Raises:
            RunError: No run lies there, or it is not finished.
            PlanError: The run tells individuals, not labels.
        """
        return cls(open_run(folder), device=device)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """The columns of each label group."""
        return label_groups(self.opened.known.vocabulary)

    def proba(
        self, photos: Collection, *, n_workers: int = 2, progress: Progress = QUIET
    ) -> Float32[np.ndarray, "photo label"]:
        """The probability of every label of the vocabulary, as the stage before the cutoffs has it for new photos."""
        return self.voices.proba(self.cut.reads_from, photos, n_workers=n_workers, progress=progress)

    def answers(self, proba: Float32[np.ndarray, "photo label"]) -> Bool[np.ndarray, "photo label"]:
        """Which labels the cutoffs give."""
        return cut(self.cutoffs, proba, groups=self.groups, names=list(self.opened.known.vocabulary.tags))

    def tag(
        self, photos: Collection, *, most: int = 15, n_workers: int = 2, progress: Progress = QUIET
    ) -> list[Tagged]:
        """The labels of each photo: all that are given, and the likeliest others up to ``most``.

        Args:
            photos: Any photos; labels in their table are not looked at.
            most: How many labels a photo to tell, given or not.
            n_workers: Threads that read photos ahead.
            progress: Told as batches end.
        """
        vocabulary = self.opened.known.vocabulary
        proba = self.proba(photos, n_workers=n_workers, progress=progress)
        given = self.answers(proba)
        found = []
        for image, file, values, mine in zip(photos.images, photos.paths, proba, given, strict=True):
            order = np.argsort(-values, kind="stable")
            chosen = [column for place, column in enumerate(order.tolist()) if mine[column] or place < most]
            tags = (Tag(vocabulary.tags[c], vocabulary.tag_groups[c], float(values[c]), bool(mine[c])) for c in chosen)
            found.append(Tagged(image=image, file=file, tags=tuple(tags)))
        return found
