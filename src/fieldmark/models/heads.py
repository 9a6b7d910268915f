"""Necks and heads: what stands between a pooled feature and the embedding and logits of a network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fieldmark.core.errors import ShapeError
from fieldmark.models import specs


class Dropout(nn.Module):
    """Zero a share of the features in training, and only there, with its own generator.

    Args:
        rate: Share of features that is zeroed; the others grow by ``1 / (1 - rate)``.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.chance: torch.Generator | None = None
        """Where the draws come from; a checkpoint keeps its state. None: torch's global generator."""

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The feature, thinned out in training."""
        if not self.training or self.rate == 0:
            return feature
        # Drawn where the generator lives: a CPU generator gives one and the same run on every device.
        device = feature.device if self.chance is None else self.chance.device
        draw = torch.rand(feature.shape, generator=self.chance, device=device)
        return feature * (draw >= self.rate).to(feature) / (1 - self.rate)


class BatchNormNeck(nn.Module):
    """Every feature brought to the same spread over the batch, with a learned weight and no bias.

    Without a bias the features stay around the origin, where cosines between them mean most.

    Args:
        width: Number of features.

    Source:
        Luo et al. 2019, arXiv:1903.07071 (BNNeck).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        # Taken away, not frozen at zero: whoever thaws the network cannot bring it back.
        self.norm.register_parameter("bias", None)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The feature, normalised over the batch in training and by the running statistics elsewhere.

        Raises:
            ShapeError: A single picture in training, which has no spread.
        """
        if self.training and feature.shape[0] < 2:
            raise ShapeError(
                "A network with a batch-norm neck cannot train on a batch of one picture.",
                got=f"features {tuple(feature.shape)}",
                fix='use batches of at least 2 (drop the last, smaller one), or neck = "none".',
            )
        return self.norm(feature)


class Linear(nn.Module):
    """One yes-or-no question a label, asked of the pooled feature as it is.

    Args:
        width: Number of features.
        n_classes: Number of labels.
    """

    reads_pooled = True

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.questions = nn.Linear(width, n_classes)
        nn.init.normal_(self.questions.weight, std=0.01)
        nn.init.zeros_(self.questions.bias)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch label"]:
        """One logit a label."""
        return self.questions(feature)


class OneVsRest(nn.Module):
    """One yes-or-no question an identity, asked of the unit-length embedding: ``scale * (W f + b)``.

    A stranger is a no to all questions, so the head can say "nobody we know" without a class for it.

    Args:
        width: Length of the embedding.
        n_classes: Number of known identities.
        scale: Makes up for the embedding's unit length; 16 in the source.

    Source:
        Humpback Whale Identification 2018/19, first place; weights start as N(0, 0.001), read as the deviation.
    """

    reads_pooled = False

    def __init__(self, width: int, n_classes: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.questions = nn.Linear(width, n_classes)
        nn.init.normal_(self.questions.weight, std=0.001)
        nn.init.zeros_(self.questions.bias)

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """One logit an identity."""
        return self.scale * self.questions(embedding)


class Cosine(nn.Module):
    """Scaled cosines between the embedding and one learned direction a class.

    The place of ArcFace and its family: they change the true class's cosine, ``logits / scale``, in the loss, where
    the truth is known; what the head gives is what is used after training.

    Args:
        width: Length of the embedding.
        n_classes: Number of classes.
        scale: Logit of a cosine of 1.

    Source:
        Wang et al. 2018, arXiv:1801.09414, section 3.1 (normalised softmax).
    """

    reads_pooled = False

    def __init__(self, width: int, n_classes: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.directions = nn.Parameter(torch.empty(n_classes, width))
        nn.init.xavier_uniform_(self.directions)

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """``scale`` times the cosine to each class."""
        return self.scale * functional.linear(embedding, unit(self.directions))


def unit(feature: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Every row at length 1; a row of zeros stays zero."""
    return functional.normalize(feature, dim=1)


def build_head(head: specs.Head, *, width: int, n_classes: int) -> Linear | OneVsRest | Cosine | None:
    """The module that gives the logits; None for an embedding alone.

    Args:
        head: Its settings.
        width: Length of the feature it reads.
        n_classes: Number of labels, identities or classes.
    """
    match head:
        case specs.SigmoidHead():
            return Linear(width, n_classes)
        case specs.OneVsRestHead():
            return OneVsRest(width, n_classes, scale=head.scale)
        case specs.CosineHead():
            return Cosine(width, n_classes, scale=head.scale)
        case specs.EmbeddingHead():
            return None
