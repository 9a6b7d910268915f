"""The stage *embed*: out-of-fold embeddings and probabilities of photos, and a gallery of the known photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.train import Train

if TYPE_CHECKING:
    from fieldmark.pipeline.networks import SavedNet
    from fieldmark.training.features import FeatureStore


@stage
class Embed(Stage):
    """Compute embeddings and probabilities of all photos with the networks of a train stage.

    The network of each fold predicts the fold's validation photos, which it was not trained on. The probabilities of
    its head are written to the out-of-fold store. Every network predicts the new photos. The embeddings of the known
    photos are written to one gallery per network.

    Attributes:
        of: Train stage.
        on: Split stage of the train stage.
        flip: Whether to embed each photo mirrored too (test-time augmentation).
    """

    output = Embeddings
    kind: Literal["embed"] = "embed"
    of: Annotated[str, Ref(Models)]
    on: Annotated[str, Ref(Folds)]
    flip: bool = True

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if the networks predict labels."""
        source = earlier.get(self.of)
        if isinstance(source, Train) and source.learns_labels:
            return [f"{self.name}: '{self.of}' is trained on labels, but embed is for identification: use score"]
        return []

    def fit(self, context: Context, folder: Path) -> str:
        """Write the galleries, and the embeddings and probabilities of the validation photos."""
        from fieldmark.training.features import FeatureStore

        known, folds, left = context.known, context.artifact(Folds, self.on), Embeddings(folder)
        nets = context.artifact(Models, self.of).nets(context.device)
        names = list(known.vocabulary.identities)
        store = left.new_store(names) if nets[0].judges else None
        features = FeatureStore(context.features) if context.features is not None else None
        for k in range(len(nets)):
            proba = self._known(context, left, nets, folds, features, k=k)
            if store is not None and proba is not None:
                store.add(folds.validation(known, k=k), proba, fold=k, trained_on=folds.training(known, k=k))
        if store is not None:
            store.close()
        return f"{len(nets)} network(s), {len(known)} known photos"

    def apply(self, ask: Ask) -> Embedded:
        """Return each network's embeddings and probabilities of any photos."""
        from fieldmark.pipeline.networks import look

        nets, left = ask.artifact(Models, self.of).nets(ask.context.device), ask.fitted(Embeddings)
        for k, net in enumerate(nets):
            left.gallery(k, made_by=net.sha256)  # raises if another network made the gallery
        embedded = look(
            nets,
            ask.photos,
            flip=self.flip,
            n_identities=len(ask.context.known.vocabulary.identities),
            features=ask.application.features,
            what="photos",
            **ask.context.pace,
        )
        proba = [one.proba for one in embedded if one.proba is not None]
        return Embedded([one.embedding for one in embedded], proba if len(proba) == len(embedded) else None)

    def _known(
        self,
        context: Context,
        left: Embeddings,
        nets: list[SavedNet],
        folds: Folds,
        features: FeatureStore | None,
        *,
        k: int,
    ) -> Float32[np.ndarray, "photo identity"] | None:
        """Write the gallery of network k and the embeddings of its validation photos. Return their probabilities."""
        from fieldmark.pipeline.networks import look, share_backbone

        known, net = context.known, nets[k]
        validation, training = np.flatnonzero(folds.fold == k), np.flatnonzero(folds.fold != k)
        shared = features if share_backbone(nets) else None
        n_identities = len(known.vocabulary.identities)
        embedded = [
            look(
                [net],
                known.take(rows),
                flip=self.flip,
                n_identities=wanted,
                features=shared,
                what=f"{part} photos, network {k + 1}",
                **context.pace,
            )[0]
            for rows, part, wanted in ((training, "training", None), (validation, "validation", n_identities))
        ]
        views, _, dim = embedded[0].embedding.shape
        embedding = np.zeros((views, len(known), dim), dtype=np.float32)
        embedding[:, training], embedding[:, validation] = embedded[0].embedding, embedded[1].embedding
        # Unlabelled photos (class -2) and extra photos are not compared with, like photos of unknown individuals.
        classes = np.where(known.extra, -1, np.maximum(known.classes, -1))
        left.write_gallery(k, embedding, images=known.images, classes=classes, made_by=net.sha256)
        left.write_validation(k, embedded[1].embedding)
        return embedded[1].proba
