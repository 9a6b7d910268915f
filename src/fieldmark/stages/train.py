"""The verb *train*: one network a fold, that has not seen its validation photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fieldmark.core.files import write_json
from fieldmark.core.seeds import hash_seed
from fieldmark.core.spec import Count, Spec
from fieldmark.data.specs import Sampler, TupleSampler
from fieldmark.data.twins import named_strangers
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.losses.specs import BatchHardTriplet, Losses, OhemBce
from fieldmark.models.specs import Net
from fieldmark.stages.job import Job
from fieldmark.stages.split import read_folds
from fieldmark.train.specs import Training

if TYPE_CHECKING:
    from fieldmark.models.network import Network
    from fieldmark.train.loop import Lesson, Watch
    from fieldmark.train.ranks import Ranks


class Train(Spec):
    """Train a network for each fold of ``on``.

    Attributes:
        on: The split stage.
        net: Backbone, neck and head.
        preprocess: How a file becomes the network's input; stored with the network.
        augment: What training does to photos on top of it.
        versions: Vary each photo in so many fixed ways instead of anew each time; then features of frozen lower stages
            are computed once a version and kept, which makes training of the upper ones several times quicker.
        losses: Their weighted sum is minimised.
        sampler: How an epoch's order is drawn.
        flip_identity: A mirrored photo of identity k is one of identity k + N; strangers stay strangers.
        unknowns: Whether photos of the unknown identity are trained on, as a no to every identity. A stranger whose
            file is a copy of one with a name is nobody to learn "no" from and is left out.
        training: Legs, optimiser and the rest.
    """

    verb: Literal["train"] = "train"
    name: str
    on: str
    net: Net = Net()
    preprocess: Preprocess
    augment: Augment = NoAugment()
    versions: Count | None = None
    losses: Losses = (OhemBce(), BatchHardTriplet())
    sampler: Sampler = TupleSampler()
    flip_identity: bool = False
    unknowns: bool = True
    training: Training = Training()

    def reads(self) -> tuple[str, ...]:
        """The split stage."""
        return (self.on,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``fold<k>/`` with the network and its history for each fold; say how the last epochs went."""
        from fieldmark.train.ranks import ranks

        group = ranks(job.device)
        fold = read_folds(job, self.on)
        said = []
        for k in range(int(fold.max()) + 1):
            place = folder / f"fold{k}"
            if (place / "history.json").exists():
                continue
            said.append(self._fold(job, place, k=k, fold=fold, group=group))
        return said[-1] if said else "all folds were trained already"

    def _fold(self, job: Job, place: Path, *, k: int, fold: np.ndarray, group: Ranks) -> str:
        from fieldmark.models.network import build
        from fieldmark.models.store import save
        from fieldmark.train.loop import Workshop, fit

        n_classes = len(job.known.vocabulary.identities) * (2 if self.flip_identity else 1)
        network = build(self.net, n_classes=n_classes, seed=hash_seed(job.seed, self.name, k))
        workshop = Workshop(
            folder=place.with_name(f".fold{k}-checkpoints"),
            group=group,
            n_workers=job.n_workers,
            progress=job.progress,
            scalar=_scalars(job, f"{self.name}-fold{k}") if group.leads else None,
            features=job.features,
        )
        history = fit(
            network,
            self.lesson(job, k=k, fold=fold),
            self.training,
            at=workshop,
            seed=hash_seed(job.seed, self.name, k, "order"),
            watch=self._watch(job, k=k, fold=fold, group=group),
        )
        if group.leads:
            place.mkdir(exist_ok=True)
            save(network, place, preprocess=self.preprocess.model_dump(mode="json"))
            write_json(place / "history.json", history)
        group.wait()
        return _last(history)

    def lesson(self, job: Job, *, k: int, fold: np.ndarray) -> Lesson:
        """What network ``k`` learns from: items 0 ... n-1 are the photos, n ... 2n-1 the same photos mirrored."""
        from fieldmark.stages.nets import photo_source
        from fieldmark.train.loop import Lesson

        known = job.known
        n, classes = len(known), known.classes
        strangers = (classes == UNKNOWN) & self.unknowns & ~named_strangers(known.paths, classes)
        teach = (fold != k) & ((classes >= 0) | strangers)
        items = np.flatnonzero(teach)
        if self.flip_identity:
            n_identities = len(known.vocabulary.identities)
            mirrored = np.where(classes >= 0, classes + n_identities, classes)
            classes = np.concatenate([classes, mirrored])
            items = np.concatenate([items, items + n])
        source = photo_source(
            known, self.preprocess, augment=self.augment, versions=self.versions, seed=hash_seed(job.seed, self.name)
        )
        return Lesson(
            source=source,
            items=items,
            sampler=self.sampler,
            losses=self.losses,
            classes=classes,
            names=lambda item: known.images[item % n] + (" mirrored" if item >= n else ""),
        )

    def _watch(self, job: Job, *, k: int, fold: np.ndarray, group: Ranks) -> Watch | None:
        """MAP@5 among identities on this fold's known validation photos, by the head's logits."""
        from fieldmark.stages.nets import photo_source
        from fieldmark.train.embed import embed

        known = job.known
        rows = np.flatnonzero((fold == k) & (known.classes >= 0))
        if self.net.head.kind == "embedding" or not len(rows) or not self.training.legs:
            return None
        source = photo_source(known.take(rows), self.preprocess)
        truth, n_identities = known.classes[rows], len(known.vocabulary.identities)

        def watch(network: Network) -> dict[str, float]:
            seen = embed(network, source, device=group.device, n_workers=job.n_workers, logits=True)
            if (logits := seen.logits) is None:  # the head gives none; there is nothing to watch
                return {}
            own = np.take_along_axis(logits[0], truth[:, None], axis=1)
            place = (logits[0][:, :n_identities] > own).sum(axis=1) + 1
            return {"validation map5 (known)": float(np.where(place <= 5, 1 / place, 0.0).mean())}

        return watch


def _scalars(job: Job, name: str) -> Any:
    """A TensorBoard writer's ``add_scalar`` if TensorBoard is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(job.run.path / "tensorboard" / name)).add_scalar


def _last(history: list[dict[str, Any]]) -> str:
    if not history:
        return "the network as it was built (no legs)"
    row = history[-1]
    told = ", ".join(
        f"{name} {value:.3f}" for name, value in row.items() if name in {"loss", "map5"} or "map5 (" in name
    )
    return f"{len(history)} epochs, {row['update']} updates; {told}"
