"""Settings of networks (no torch): backbone, weights, neck, head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Positive, Spec

DropRate = Annotated[float, Field(ge=0, lt=1)]
"""Share of features zeroed in training."""


class PackageWeights(Spec):
    """Weights that lie inside an installed package and are checked by their SHA-256."""

    kind: Literal["package"] = "package"


class FileWeights(Spec):
    """Weights from a local safetensors or state-dict file; never unpickled."""

    kind: Literal["file"] = "file"
    path: str
    sha256: str | None = None


class HubWeights(Spec):
    """Weights that timm fetches from its hub (or finds in its cache)."""

    kind: Literal["hub"] = "hub"


class RandomWeights(Spec):
    """No pretrained weights."""

    kind: Literal["random"] = "random"


Weights = Annotated[PackageWeights | FileWeights | HubWeights | RandomWeights, Field(discriminator="kind")]


class Backbone(Spec):
    """A timm network without its classifier, with a pooling of its last feature map."""

    name: str = "tf_efficientnet_lite0"
    weights: Weights = PackageWeights()
    in_channels: Count = 3
    pool: Literal["avg", "max", "gem"] = "avg"


class SigmoidHead(Spec):
    """One independent yes-or-no question a label."""

    kind: Literal["sigmoid"] = "sigmoid"
    dropout: DropRate = 0.0


class OneVsRestHead(Spec):
    """One yes-or-no question an identity on the unit-length feature; a stranger is a no to all."""

    kind: Literal["one_vs_rest"] = "one_vs_rest"
    scale: Positive = 16.0
    dropout: DropRate = 0.2


class CosineHead(Spec):
    """Scaled cosines between the unit-length feature and one learned direction a class.

    Margins (ArcFace and its family) change the logits of the true class in the loss, not here.
    """

    kind: Literal["cosine"] = "cosine"
    scale: Positive = 30.0
    dropout: DropRate = 0.0


class EmbeddingHead(Spec):
    """The unit-length feature alone, projected to ``dim`` if given; no logits."""

    kind: Literal["embedding"] = "embedding"
    dim: Count | None = None


Head = Annotated[SigmoidHead | OneVsRestHead | CosineHead | EmbeddingHead, Field(discriminator="kind")]


class Net(Spec):
    """Backbone, neck and head: all that is needed to build the network again."""

    backbone: Backbone = Backbone()
    neck: Literal["none", "bn"] = "bn"
    head: Head = OneVsRestHead()
