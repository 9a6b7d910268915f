"""The verb *stack*: boosted trees judge image x label from what all networks say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import Field

from fieldmark.core.files import write_json
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.stacking.specs import Stacking
from fieldmark.stages.job import Job
from fieldmark.stages.look import CLASSES, FEATURES, LOOKS, Eye, Look, unit_rows
from fieldmark.stages.scored import MEAN, known_proba, new_proba, write_absent, write_scored
from fieldmark.stages.split import read_folds

if TYPE_CHECKING:
    from fieldmark.stacking.evidence import Evidence
    from fieldmark.stages.engine import Opened

IMPORTANCE = "importance.json"
CEILING = "ceiling.json"


class Stack(Spec):
    """The second level: trees learn when to trust which network, and judge no photo they have learnt from.

    Attributes:
        reads_from: Score stages; each of their networks has a say.
        on: Their split stage.
        looks: A look stage: brightness, shape, ImageNet classes and likeness of photos. Without one those columns are
            left out.
        settings: Of candidates, columns and trees.
    """

    verb: Literal["stack"] = "stack"
    name: str
    reads_from: Annotated[tuple[str, ...], Field(min_length=1)]
    on: str
    looks: str | None = None
    settings: Stacking = Stacking()

    def reads(self) -> tuple[str, ...]:
        """The score stages, the split, and the look stage."""
        return (*self.reads_from, self.on, *(() if self.looks is None else (self.looks,)))

    def run(self, job: Job, folder: Path) -> str:
        """Write the out-of-fold store ``mean/``, the trees in ``judge/``, and what they went by."""
        from fieldmark.stacking.second_level import second_level

        fold, vocabulary = read_folds(job, self.on), job.known.vocabulary
        n_threads = os.cpu_count() or 1
        voices = {f"{name}/{voice}": (name, voice) for name in self.reads_from for voice in job.stages[name].models}
        known = {key: known_proba(job, at[0], voice=at[1]) for key, at in voices.items()}
        truth = job.known.truth
        made = second_level(
            self._evidence(known, None if self.looks is None else job.run.stage(self.looks) / "known"),
            truth > 0,
            fold,
            is_told=~np.isnan(truth),
            by=settled(self.settings, looks=self.looks is not None),
            label_groups=group_numbers(vocabulary),
            seed=job.seed,
            n_threads=n_threads,
            scratch=folder,
            progress=job.progress,
        )
        new = None
        if job.new is not None and len(job.new):
            fresh = {key: new_proba(job, at[0], voice=at[1]) for key, at in voices.items()}
            evidence = self._evidence(fresh, None if self.looks is None else job.run.stage(self.looks) / "new")
            new = made.judge.judge(evidence, n_threads=n_threads)[None]
        write_absent(folder, job)
        write_scored(folder, MEAN, job, columns=vocabulary.tags, fold=fold, proba=made.proba, new=new)
        (folder / "judge").mkdir(exist_ok=True)
        made.judge.save(folder / "judge")
        write_json(folder / IMPORTANCE, [{"column": name, "share": share} for name, share in made.importance])
        write_json(folder / CEILING, {"recall_ceiling": made.recall_ceiling, "n_judged": made.n_judged})
        return f"{made.n_judged:,} cells judged; they hold {made.recall_ceiling:.1%} of the true labels"

    def _evidence(self, scores: Mapping[str, np.ndarray], place: Path | None) -> Evidence:
        if place is None:
            return evidence_of(scores)
        seen = [np.load(place / name, allow_pickle=False) for name in (LOOKS, CLASSES, FEATURES)]
        return evidence_of(scores, seen)


def evidence_of(scores: Mapping[str, np.ndarray], seen: list[np.ndarray] | None = None) -> Evidence:
    """What trees may know of photos: the networks' scores, and what a look stage saw (looks, classes, features)."""
    from fieldmark.stacking.evidence import Evidence

    if seen is None:
        return Evidence(scores=scores)
    looks, classes, features = seen
    return Evidence(scores=scores, looks=looks, imagenet=classes, embeddings=unit_rows(features))


def settled(settings: Stacking, *, looks: bool) -> Stacking:
    """The settings without the columns that need a look stage where there is none."""
    if looks:
        return settings
    features = settings.features.model_copy(update={"looks": False, "imagenet": "off", "relevance": None})
    return settings.model_copy(update={"features": features})


def group_numbers(vocabulary: Vocabulary) -> Int64[np.ndarray, " label"]:
    """The group of each label as a number."""
    numbers = np.zeros(len(vocabulary.tags), dtype=np.int64)
    for number, columns in enumerate(vocabulary.groups.values()):
        numbers[list(columns)] = number
    return numbers


def judge(
    opened: Opened,
    stage: Stack,
    photos: Collection,
    scores: Mapping[str, Float32[np.ndarray, "photo label"]],
    *,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Float32[np.ndarray, "photo label"]:
    """What the trees of a finished stage say of other photos.

    Args:
        opened: The run.
        stage: Its stack stage.
        photos: Any.
        scores: What each network says of them, by ``<score stage>/<network>``.
        device: Where the pretrained network computes.
        n_workers: Threads that read ahead.
        progress: Told as batches end.
    """
    from fieldmark.stacking.judge import Judge

    seen = None
    looks = next((one for one in opened.plan.stages if isinstance(one, Look) and one.name == stage.looks), None)
    if looks is not None:
        seen = list(Eye(looks, device=device).see(photos, n_workers=n_workers, progress=progress))
    trees = Judge.load(opened.run.stage(stage.name) / "judge")
    return trees.judge(evidence_of(scores, seen), n_threads=os.cpu_count() or 1)
