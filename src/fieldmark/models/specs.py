"""Settings of networks (no torch): backbone, weights, neck, head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.registry import NameIn
from fieldmark.core.spec import Count, Positive, Spec
from fieldmark.models.registered import BACKBONES

DropRate = Annotated[float, Field(ge=0, lt=1)]
"""Share of features zeroed in training."""


class PackageWeights(Spec):
    """Weights that lie inside an installed package and are checked by their SHA-256; a registered backbone's own."""

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
    """A network without its classifier, with a pooling of its last feature map.

    Attributes:
        name: As timm calls it, or as another package or a script registered it.
        weights: Where it begins.
        in_channels: 3, and one for a mask.
        pool: Average, maximum, or a learnt mean between them (GeM).
        maps: 2: pool the map before the last shrinking too, and put both side by side; for plain stages one after the
            other, as those of ResNet, EfficientNet or ConvNeXt.
    """

    name: Annotated[str, NameIn(BACKBONES)] = "tf_efficientnet_lite0"
    weights: Weights = PackageWeights()
    in_channels: Count = 3
    pool: Literal["avg", "max", "gem"] = "avg"
    maps: Literal[1, 2] = 1


class SigmoidHead(Spec):
    """One independent yes-or-no question a label."""

    kind: Literal["sigmoid"] = "sigmoid"
    dropout: DropRate = 0.0


class AnswerLayout(Spec):
    """How the logits of a head for questions hang together; a train stage fills it in from the vocabulary.

    Attributes:
        question_of: For each answer the number of its question, rising from 0.
        label_of: For each answer the number of its label: "red" of a shoe and "red" of a dress may be one label.
        below: For each answer those (by number) of an earlier question that it is a kind of; empty: of none.
    """

    question_of: tuple[int, ...]
    label_of: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]


class QuestionsHead(Spec):
    """One answer a question: a logit for each answer that the question may get.

    Attributes:
        form: ``each``: every answer its own yes or no, their sigmoids then shared out within the question; ``softmax``:
            the answers of a question compete; ``conditional``: those below the answer to the question above compete,
            and what is above is answered first.
        shared: Answers of one name are one label, whatever the question: less to learn, but shoes and dresses must then
            mean the same by "red".
        dropout: Of the pooled feature.
        layout: Filled in by the train stage.
    """

    kind: Literal["questions"] = "questions"
    form: Literal["each", "softmax", "conditional"] = "softmax"
    shared: bool = True
    dropout: DropRate = 0.0
    layout: AnswerLayout | None = None


class OneVsRestHead(Spec):
    """One yes-or-no question an identity on the unit-length feature; an unknown individual is a no to all."""

    kind: Literal["one_vs_rest"] = "one_vs_rest"
    scale: Positive = 16.0
    dropout: DropRate = 0.2


class CosineHead(Spec):
    """Scaled cosines between the unit-length feature and learned directions of each class.

    Margins (ArcFace and its family) change the logits of the true class in the loss, not here.

    Attributes:
        scale: Logit of a cosine of 1.
        centres: Directions a class, of which the nearest counts: a whale has two ends of its fluke, a lion two sides.
        imprinted: Begin each class's direction at the mean of its photos, as the untrained network sees them; else
            anywhere.
        dropout: Of the pooled feature.
    """

    kind: Literal["cosine"] = "cosine"
    scale: Positive = 30.0
    centres: Count = 1
    imprinted: bool = False
    dropout: DropRate = 0.0


class AffinityHead(Spec):
    """Nearness of the neck's feature, at its own length, to the nearest of some centres of each class.

    Attributes:
        centres: Of each class.
        sigma: Squared distance at which the affinity has fallen to 1 / e; None: the number of features. (10 in the
            paper; features of 1,280 numbers around unit spread would then never be near anything.)
        dropout: Of the pooled feature.
    """

    kind: Literal["affinity"] = "affinity"
    centres: Count = 2
    sigma: Positive | None = None
    dropout: DropRate = 0.0


class EmbeddingHead(Spec):
    """The unit-length feature alone, projected to ``dim`` if given; no logits."""

    kind: Literal["embedding"] = "embedding"
    dim: Count | None = None


class PairHead(Spec):
    """How likely two photos show the same individual, learnt from their unit-length features; no logits of one photo.

    Attributes:
        dim: Project the features to so many first; None: compare them as they are. Time to compare grows with it.
        hidden: Width of the little network that all features share.
    """

    kind: Literal["pair"] = "pair"
    dim: Count | None = None
    hidden: Count = 32


Head = Annotated[
    SigmoidHead | QuestionsHead | OneVsRestHead | CosineHead | AffinityHead | EmbeddingHead | PairHead,
    Field(discriminator="kind"),
]


class Net(Spec):
    """Backbone, neck and head: all that is needed to build the network again.

    Attributes:
        backbone: What sees.
        neck: What stands between its feature and the embedding.
        head: What answers.
        stripes: Also a vector for each of so many stripes of the picture, top to bottom (for the loss
            ``local_triplet``); the backbone's last map must have as many rows.
    """

    backbone: Backbone = Backbone()
    neck: Literal["none", "bn"] = "bn"
    head: Head = OneVsRestHead()
    stripes: Annotated[int, Field(ge=2)] | None = None
