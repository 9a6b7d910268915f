"""The stage *describe_images*: image features of each photo that do not depend on the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fieldmark.data.collection import Collection
from fieldmark.images.specs import Preprocess
from fieldmark.models.specs import Backbone
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.features import Features, PhotoFeatures
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage, stage

BATCH = 16


@stage
class DescribeImages(Stage):
    """Compute the brightness, colourfulness and shape of each photo, and the output of a pretrained network.

    These features do not depend on the labels of the photos, so they cannot leak labels between folds.

    Attributes:
        backbone: Pretrained network with packaged weights and the 1,000 ImageNet classes.
        preprocess: Preprocessing of image files for this network.
    """

    output = Features
    kind: Literal["describe_images"] = "describe_images"
    backbone: Backbone = Backbone()
    preprocess: Preprocess = Preprocess(height_px=224, width_px=224)

    def fit(self, context: Context, folder: Path) -> str:
        """Write the image statistics (4 numbers per photo), ImageNet probabilities and features of the known photos."""
        Features(folder).write(self._features(context.known, context))
        return f"{len(context.known)} known photos"

    def apply(self, ask: Ask) -> PhotoFeatures:
        """Return the image features of any photos."""
        return self._features(ask.photos, ask.context)

    def _features(self, photos: Collection, context: Context) -> PhotoFeatures:
        import torch

        from fieldmark.images.preprocess import normalise
        from fieldmark.images.statistics import image_statistics
        from fieldmark.models.classifier import build_classifier
        from fieldmark.quality.regions.sources import photo_source
        from fieldmark.training.ranks import ranks

        at = ranks(context.device).device
        classifier, _ = build_classifier(self.backbone)
        network = classifier.to(at).to(memory_format=torch.channels_last)
        n = len(photos)
        order = np.minimum(np.arange(-(-n // BATCH) * BATCH), n - 1).reshape(-1, BATCH)
        features, classes = [], []
        with torch.inference_mode():
            stream = photo_source(photos, self.preprocess).batches(order, epoch=0, n_workers=context.n_workers)
            for pictures in context.progress.track(stream, total=len(order), what="pretrained network"):
                feature, proba = network(normalise(pictures.to(at), self.preprocess))
                features.append(feature.float().cpu())
                classes.append(proba.float().cpu())
        statistics = image_statistics(photos.paths, n_threads=max(1, context.n_workers))
        return PhotoFeatures(statistics, torch.cat(classes)[:n].numpy(), torch.cat(features)[:n].numpy())
