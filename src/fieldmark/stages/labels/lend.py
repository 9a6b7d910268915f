"""The verb *lend*: the labels of alike photos have a say beside the networks'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec, read
from fieldmark.data.collection import Collection
from fieldmark.stacking.knn import neighbours, relevance
from fieldmark.stacking.lending import choose_lending, mixed
from fieldmark.stacking.specs import Lending, Relevance
from fieldmark.stages.common.split import read_folds
from fieldmark.stages.job import Job
from fieldmark.stages.labels.look import FEATURES, Eye, Look, unit_rows
from fieldmark.stages.scored import MEAN, known_proba, new_proba, write_scored

if TYPE_CHECKING:
    from fieldmark.core.progress import Progress
    from fieldmark.stages.engine import Opened

CHOSEN = "chosen.json"


class Chosen(Spec):
    """What was found best: which neighbours are heard, their weight, and the mean F2 at each weight tried."""

    relevance: Relevance
    weight: float
    f2: tuple[float, ...]


class Lend(Spec):
    """Mix a stage's scores with the labels of the most alike photos, by features no label of these photos went into.

    A known photo hears none of its own fold, so the mixture is out-of-fold as the scores are. Which neighbours are
    heard, and how much, is found on the out-of-fold scores.

    Attributes:
        reads_from: A stage with scores.
        on: The split stage.
        looks: A look stage, whose features say which photos are alike.
        settings: What to try.

    Source:
        iMet 2019, fourth place (neighbours' labels averaged with the network's); the choice of the weight is ours.
    """

    verb: Literal["lend"] = "lend"
    name: str
    reads_from: str
    on: str
    looks: str
    settings: Lending = Lending()

    def reads(self) -> tuple[str, ...]:
        """The scores, the split and the looks."""
        return (self.reads_from, self.on, self.looks)

    def run(self, job: Job, folder: Path) -> str:
        """Write the out-of-fold store ``mean/`` and what was chosen."""
        fold, truth = read_folds(job, self.on), job.known.truth > 0
        proba = known_proba(job, self.reads_from)
        seen = unit_rows(np.load(job.run.stage(self.looks) / "known" / FEATURES, allow_pickle=False))
        widest = max(one.k for one in self.settings.relevance)
        nearest = neighbours(seen, seen, k=widest, groups=(fold, fold))
        settings, weight, f2 = choose_lending(proba, nearest, truth, self.settings)
        write_text(folder / CHOSEN, Chosen(relevance=settings, weight=weight, f2=f2).model_dump_json(indent=1) + "\n")
        new = None
        if job.new is not None and len(job.new):
            fresh = unit_rows(np.load(job.run.stage(self.looks) / "new" / FEATURES, allow_pickle=False))
            lent = relevance(neighbours(fresh, seen, k=settings.k), truth, settings)
            new = mixed(new_proba(job, self.reads_from), lent, weight=weight)[None]
        known = mixed(proba, relevance(nearest, truth, settings), weight=weight)
        write_scored(folder, MEAN, job, columns=job.known.vocabulary.tags, fold=fold, proba=known, new=new)
        return f"the {settings.k} most alike photos weigh {weight:g}, {self.reads_from} {1 - weight:g}"


def lent_to(
    opened: Opened,
    stage: Lend,
    photos: Collection,
    proba: Float32[np.ndarray, "photo label"],
    *,
    device: str,
    n_workers: int,
    progress: Progress,
) -> Float32[np.ndarray, "photo label"]:
    """The mixture of a finished stage for other photos, given what ``reads_from`` says of them."""
    looks = next(one for one in opened.plan.stages if isinstance(one, Look) and one.name == stage.looks)
    _, _, features = Eye(looks, device=device).see(photos, n_workers=n_workers, progress=progress)
    gallery = unit_rows(np.load(opened.run.stage(stage.looks) / "known" / FEATURES, allow_pickle=False))
    chosen: Chosen = read(Chosen, opened.run.stage(stage.name) / CHOSEN)
    nearest = neighbours(unit_rows(features), gallery, k=chosen.relevance.k)
    lent = relevance(nearest, opened.known.truth > 0, chosen.relevance)
    return mixed(proba, lent, weight=chosen.weight)
