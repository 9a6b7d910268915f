"""The verb *look*: what can be said of each photo before anything is learnt from these photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.spec import Spec
from fieldmark.data.collection import Collection
from fieldmark.images.specs import Preprocess
from fieldmark.models.specs import Backbone
from fieldmark.stages.job import Job

if TYPE_CHECKING:
    import torch

    from fieldmark.models.classifier import Classifier

CLASSES, FEATURES, LOOKS = "imagenet.npy", "features.npy", "looks.npy"


class Look(Spec):
    """Note brightness, colourfulness and shape of each photo, and what a pretrained network takes it for.

    Nothing here has seen a label of these photos, so it may be used for all of them.

    Attributes:
        backbone: A network with packaged weights and its 1,000 ImageNet classes.
        preprocess: How a file becomes its input.
    """

    verb: Literal["look"] = "look"
    name: str
    backbone: Backbone = Backbone()
    preprocess: Preprocess = Preprocess(height_px=224, width_px=224)

    def reads(self) -> tuple[str, ...]:
        """Nothing but the photos."""
        return ()

    def run(self, job: Job, folder: Path) -> str:
        """Write ``known/`` and ``new/``: looks (4 numbers a photo), ImageNet probabilities, features."""
        eye = Eye(self, device=job.device)
        parts: dict[str, Collection] = {"known": job.known}
        if job.new is not None and len(job.new):
            parts["new"] = job.new
        for name, photos in parts.items():
            seen = eye.see(photos, n_workers=job.n_workers, progress=job.progress)
            (folder / name).mkdir(exist_ok=True)
            for file, array in zip((LOOKS, CLASSES, FEATURES), seen, strict=True):
                np.save(folder / name / file, array)
        return f"{sum(map(len, parts.values()))} photos looked at"


class Eye:
    """The pretrained network of a look stage, ready to see.

    Args:
        stage: Its settings.
        device: Where to compute.
    """

    def __init__(self, stage: Look, *, device: str = "auto") -> None:
        from fieldmark.models.classifier import build_classifier
        from fieldmark.training.ranks import ranks

        self.stage = stage
        self.at: torch.device = ranks(device).device
        classifier, _ = build_classifier(stage.backbone)
        self.network: Classifier = classifier.to(self.at)

    def see(
        self, photos: Collection, *, n_workers: int, progress: object
    ) -> tuple[Float32[np.ndarray, "image 4"], Float32[np.ndarray, "image class"], Float32[np.ndarray, "image dim"]]:
        """Looks, ImageNet probabilities and features of photos."""
        import torch

        from fieldmark.images.looks import looks
        from fieldmark.images.preprocess import normalise
        from fieldmark.pipeline.networks import photo_source

        source = photo_source(photos, self.stage.preprocess)
        n, batch = len(photos), 16
        order = np.minimum(np.arange(-(-n // batch) * batch), n - 1).reshape(-1, batch)
        features, classes = [], []
        network = self.network.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            stream = source.batches(order, epoch=0, n_workers=n_workers)
            for pictures in progress.track(stream, total=len(order), what="pretrained network"):  # type: ignore[attr-defined]
                feature, proba = network(normalise(pictures.to(self.at), self.stage.preprocess))
                features.append(feature.float().cpu())
                classes.append(proba.float().cpu())
        seen = looks(photos.paths, n_threads=max(1, n_workers))
        return seen, torch.cat(classes)[:n].numpy(), torch.cat(features)[:n].numpy()


def unit_rows(features: Float32[np.ndarray, "image dim"]) -> Float32[np.ndarray, "image dim"]:
    """Every row at length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)
