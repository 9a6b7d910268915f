"""Settings of networks (no torch): backbone, weights, neck, head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.registry import NameIn
from fieldmark.core.spec import Count, Positive, Spec
from fieldmark.models.registered import BACKBONES

DropRate = Annotated[float, Field(ge=0, lt=1)]
"""Share of features set to zero in training."""


class PackageWeights(Spec):
    """Weights from an installed package, verified by SHA-256; for a registered backbone, its own pretrained weights."""

    kind: Literal["package"] = "package"


class FileWeights(Spec):
    """Weights from a local safetensors or state-dict file. No code in the file is run."""

    kind: Literal["file"] = "file"
    path: str
    sha256: str | None = None


class HubWeights(Spec):
    """Weights that timm downloads from its hub, or reads from its cache."""

    kind: Literal["hub"] = "hub"


class RandomWeights(Spec):
    """No pretrained weights."""

    kind: Literal["random"] = "random"


Weights = Annotated[PackageWeights | FileWeights | HubWeights | RandomWeights, Field(discriminator="kind")]


class Backbone(Spec):
    """A network without its classifier, with a pooling of its last feature map.

    Attributes:
        name: Name of the network in timm, or the name under which a package or script registered it.
        weights: Source of the initial weights.
        in_channels: Number of input channels: 3, or 4 with a mask.
        pool: Pooling: average, maximum, or a learned mean between them (GeM).
        maps: Number of pooled feature maps. With 2, the map before the last reduction of the map size is pooled, too,
            and both vectors are concatenated. This needs a sequential network such as ResNet, EfficientNet or ConvNeXt.
    """

    name: Annotated[str, NameIn(BACKBONES)] = "tf_efficientnet_lite0"
    weights: Weights = PackageWeights()
    in_channels: Count = 3
    pool: Literal["avg", "max", "gem"] = "avg"
    maps: Literal[1, 2] = 1


class SigmoidHead(Spec):
    """One independent logit per label."""

    kind: Literal["sigmoid"] = "sigmoid"
    dropout: DropRate = 0.0


class AnswerLayout(Spec):
    """Structure of the logits of a head for questions. A train stage sets it from the vocabulary.

    Attributes:
        question_of: Number of the question of each answer, ascending from 0.
        label_of: Number of the label of each answer: "red" of a shoe and "red" of a dress may be one label.
        below: Parent answers of each answer, as numbers of answers to an earlier question; empty if it has no parent.
    """

    question_of: tuple[int, ...]
    label_of: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]


class QuestionsHead(Spec):
    """One answer per question, with one logit for each possible answer.

    Attributes:
        form: Model of the answers to a question. ``each``: a sigmoid per answer, normalised within the question;
            ``softmax``: a softmax over the answers; ``conditional``: a softmax over the answers with the same parent
            answer, where the parent question is answered first.
        shared: Whether answers of the same name share one label across questions. There is less to learn, but "red"
            must then mean the same for shoes and dresses.
        dropout: Dropout rate of the pooled feature.
        layout: Structure of the answers; set by the train stage.
    """

    kind: Literal["questions"] = "questions"
    form: Literal["each", "softmax", "conditional"] = "softmax"
    shared: bool = True
    dropout: DropRate = 0.0
    layout: AnswerLayout | None = None


class OneVsRestHead(Spec):
    """One independent logit per identity from the unit-length embedding; unknown individuals are negatives for all."""

    kind: Literal["one_vs_rest"] = "one_vs_rest"
    scale: Positive = 16.0
    dropout: DropRate = 0.2


class CosineHead(Spec):
    """Scaled cosines between the unit-length embedding and learned centres of each class.

    Margins (ArcFace and similar losses) change the logits of the true class in the loss, not here.

    Attributes:
        scale: Logit of a cosine of 1.
        centres: Number of centres per class, of which the nearest counts. Use 2 for animals whose left and right sides
            look different.
        imprinted: Whether to initialise each class centre with the mean embedding of its photos, computed by the
            untrained network; otherwise the centres are random.
        dropout: Dropout rate of the pooled feature.
    """

    kind: Literal["cosine"] = "cosine"
    scale: Positive = 30.0
    centres: Count = 1
    imprinted: bool = False
    dropout: DropRate = 0.0


class AffinityHead(Spec):
    """Affinity between the output of the neck (not normalised) and the nearest centre of each class.

    Attributes:
        centres: Number of centres per class.
        sigma: Squared distance at which the affinity is 1 / e; None means the number of features. (The paper uses 10,
            which is too small for 1,280 features of unit standard deviation.)
        dropout: Dropout rate of the pooled feature.
    """

    kind: Literal["affinity"] = "affinity"
    centres: Count = 2
    sigma: Positive | None = None
    dropout: DropRate = 0.0


class EmbeddingHead(Spec):
    """Only the unit-length embedding, projected to ``dim`` if given, without logits."""

    kind: Literal["embedding"] = "embedding"
    dim: Count | None = None


class PairHead(Spec):
    """Logit that two photos show the same individual, from their unit-length embeddings; no logits per photo.

    Attributes:
        dim: Length of the embeddings after a projection; None means no projection. The time of a comparison grows with
            it.
        hidden: Width of the small network that all features share.
    """

    kind: Literal["pair"] = "pair"
    dim: Count | None = None
    hidden: Count = 32


Head = Annotated[
    SigmoidHead | QuestionsHead | OneVsRestHead | CosineHead | AffinityHead | EmbeddingHead | PairHead,
    Field(discriminator="kind"),
]


class Net(Spec):
    """Settings of a network: backbone, neck and head.

    Attributes:
        backbone: Network that computes the feature map, with its pooling.
        neck: Layer between the pooled feature and the embedding.
        head: Layer that computes the logits.
        stripes: Number of horizontal stripes of the image, each with its own embedding (for the loss
            ``local_triplet``); None means none. The backbone's last map must have at least as many rows.
    """

    backbone: Backbone = Backbone()
    neck: Literal["none", "bn"] = "bn"
    head: Head = OneVsRestHead()
    stripes: Annotated[int, Field(ge=2)] | None = None
