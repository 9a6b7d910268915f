"""Necks and heads: the layers from the pooled feature to the embedding and the logits of a network."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fieldmark.core.errors import ShapeError
from fieldmark.models import specs

Reads = Literal["pooled", "neck", "embedding"]
"""Input of a head: the pooled feature, the output of the neck, or the unit-length embedding."""

NEAREST = 1e-6
"""Smallest distance to a centre, in units of sigma; at distance 0 the odds would be infinite."""


class Dropout(nn.Module):
    """Dropout with its own random generator. It is active in training mode only.

    Args:
        rate: Share of features that are set to zero; the others are multiplied by ``1 / (1 - rate)``.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.chance: torch.Generator | None = None
        """Random generator, whose state is part of a checkpoint. None means torch's global generator."""

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Return the feature, with dropout in training."""
        if not self.training or self.rate == 0:
            return feature
        # The draw is on the generator's device: a CPU generator gives the same run on every device.
        device = feature.device if self.chance is None else self.chance.device
        draw = torch.rand(feature.shape, generator=self.chance, device=device)
        return feature * (draw >= self.rate).to(feature) / (1 - self.rate)


class BatchNormNeck(nn.Module):
    """Batch normalisation of the feature, with a learned weight and no bias.

    Without a bias the features stay centred at the origin, which suits cosine similarities.

    Args:
        width: Number of features.

    Source:
        Luo et al. 2019, arXiv:1903.07071 (BNNeck).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        # The bias is removed, not frozen at zero, so that unfreezing the network cannot train it.
        self.norm.register_parameter("bias", None)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Return the feature, normalised over the batch in training and by the running statistics otherwise.

        Raises:
            ShapeError: The batch holds a single image in training, so that its variance is undefined.
        """
        if self.training and feature.shape[0] < 2:
            raise ShapeError(
                "A network with a batch-norm neck cannot train on a batch of one image.",
                got=f"features {tuple(feature.shape)}",
                fix='use batches of at least 2 (drop the last, smaller one), or neck = "none".',
            )
        return self.norm(feature)


class LinearLogits(nn.Module):
    """Linear layer from the pooled feature to one logit per label.

    Args:
        width: Number of features.
        n_classes: Number of labels.
    """

    reads: Reads = "pooled"

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.questions = nn.Linear(width, n_classes)
        nn.init.normal_(self.questions.weight, std=0.01)
        nn.init.zeros_(self.questions.bias)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch label"]:
        """Return one logit per label."""
        return self.questions(feature)


class Answers(nn.Module):
    """Linear layer to one logit per answer of each question. Answers with the same label share one logit.

    Args:
        width: Number of features.
        layout: Question and label of each answer.
        conditional: Whether an answer competes only with answers that have the same parent answer.

    Source:
        iMaterialist 2017, sixth place: 381 outputs for 45 questions, whose 576 answers share labels.
    """

    reads: Reads = "pooled"

    question_of: Tensor
    below: Tensor | None

    def __init__(self, width: int, layout: specs.AnswerLayout, *, conditional: bool) -> None:
        super().__init__()
        self.labels = LinearLogits(width, max(layout.label_of) + 1)
        self.label_of = list(layout.label_of)
        # Not persistent: they are part of the settings, and weights of another layout must not replace them.
        self.register_buffer("question_of", torch.tensor(layout.question_of), persistent=False)
        below = torch.zeros(len(layout.below), len(layout.below), dtype=torch.bool)
        for answer, above in enumerate(layout.below):
            below[answer, list(above)] = True
        self.register_buffer("below", below if conditional else None, persistent=False)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch answer"]:
        """Return one logit per answer."""
        return self.labels(feature)[:, self.label_of]


class OneVsRest(nn.Module):
    """One-vs-rest logits of the unit-length embedding: ``scale * (W f + b)``, one per identity.

    Unknown individuals are negatives for every class. The head can therefore reject them without a class for
    "unknown".

    Args:
        width: Length of the embedding.
        n_classes: Number of known identities.
        scale: Factor that compensates for the unit length of the embedding; 16 in the source.

    Source:
        Humpback Whale Identification 2018/19, first place. Weights are initialised as N(0, 0.001); 0.001 is read as the
        standard deviation.
    """

    reads: Reads = "embedding"

    def __init__(self, width: int, n_classes: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.questions = nn.Linear(width, n_classes)
        nn.init.normal_(self.questions.weight, std=0.001)
        nn.init.zeros_(self.questions.bias)

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """Return one logit per identity."""
        return self.scale * self.questions(embedding)


class CosineLogits(nn.Module):
    """Cosine head: the logit is the scaled cosine between the embedding and the nearest centre of each class.

    Use it with ArcFace and similar losses. They change the cosine of the true class (``logits / scale``) in the loss,
    where the ground truth is known. The output of the head is used unchanged after training.

    Args:
        width: Length of the embedding.
        n_classes: Number of classes.
        scale: Logit of a cosine of 1.
        centres: Number of centres per class. With several centres, the left and the right side of an animal need not
            share one centre, and unusual photos can have their own.

    Source:
        Wang et al. 2018, arXiv:1801.09414, section 3.1 (normalised softmax); sub-centres: Deng et al. 2020, ECCV,
        section 3.2.
    """

    reads: Reads = "embedding"

    def __init__(self, width: int, n_classes: int, *, scale: float, centres: int = 1) -> None:
        super().__init__()
        self.scale, self.n_centres = scale, centres
        directions = torch.empty(n_classes * centres, width)
        nn.init.xavier_uniform_(directions)
        # Classes are the first axis, because a warm start copies some of them.
        self.directions = nn.Parameter(directions if centres == 1 else directions.view(n_classes, centres, width))

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """Return ``scale`` times the cosine to the nearest centre of each class."""
        cosines = functional.linear(embedding, unit(self.directions.flatten(0, -2)))
        return self.scale * nearest_centre(cosines.unflatten(1, (-1, self.n_centres)))


def nearest_centre(cosines: Float[Tensor, "batch class centre"]) -> Float[Tensor, "batch class"]:
    """Return the largest cosine of each class. Only that centre gets a gradient from the image."""
    return cosines.max(dim=2).values


class Affinities(nn.Module):
    """Affinity head: log-odds of ``exp(-d / sigma)``, where d is the squared distance to the nearest centre of a class.

    The sigmoid of the output is the affinity. A feature far from all centres has a low affinity to every class.

    Args:
        width: Length of the feature.
        n_classes: Number of classes.
        centres: Number of centres per class.
        sigma: Squared distance at which the affinity is 1 / e. None means ``width``, because the neck gives each
            feature a standard deviation of 1.

    Source:
        Hayat et al. 2019, arXiv:1901.07711, equation 3. Log-odds and the default of sigma are ours.
    """

    reads: Reads = "neck"

    def __init__(self, width: int, n_classes: int, *, centres: int, sigma: float | None) -> None:
        super().__init__()
        self.sigma, self.n_centres = float(width) if sigma is None else sigma, centres
        self.centres = nn.Parameter(torch.empty(n_classes, centres, width))
        nn.init.normal_(self.centres, std=0.01)

    def forward(self, feature: Float[Tensor, "batch width"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        flat = self.centres.flatten(0, 1)
        lengths = feature.square().sum(dim=1, keepdim=True) + flat.square().sum(dim=1)
        squared = (lengths - 2 * functional.linear(feature, flat)).unflatten(1, self.centres.shape[:2])
        distance = (squared.min(dim=2).values / self.sigma).clamp(min=NEAREST)
        # log(s / (1 - s)) for s = exp(-distance), in a form that neither overflows nor rounds 1 - s to 0.
        return -distance - torch.log(-torch.expm1(-distance))


class Stripes(nn.Module):
    """Unit-length embeddings of horizontal stripes of a feature map, from top to bottom.

    Args:
        width: Number of channels of the map.
        n_stripes: Number of stripes; the map must have at least as many rows.
        channels_last: Whether maps have the axes batch, height, width, channel (as in Swin).
        dim: Length of each embedding; 512 in the source.

    Source:
        Zhang et al. 2017, arXiv:1711.08184, section 3.1 (1x1 convolution, batch norm and ReLU); Humpback Whale
        Identification 2018/19, first place.
    """

    def __init__(self, width: int, n_stripes: int, *, channels_last: bool = False, dim: int = 512) -> None:
        super().__init__()
        self.n_stripes, self.channels_last = n_stripes, channels_last
        self.squeeze = nn.Conv1d(width, dim, 1, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, features: Tensor) -> Float[Tensor, "batch stripe dim"]:
        """Return one embedding per stripe.

        Raises:
            ShapeError: ``features`` is not a map (but tokens or a vector), or has fewer rows than stripes.
        """
        rows = features.movedim(-1, 1) if self.channels_last and features.ndim == 4 else features
        if rows.ndim != 4 or rows.shape[2] < self.n_stripes:
            raise ShapeError(
                f"stripes = {self.n_stripes} needs a feature map with at least as many rows.",
                got=f"features {tuple(features.shape)}" + (f", {rows.shape[2]} rows" if rows.ndim == 4 else ", no map"),
                fix="use fewer stripes, higher images or a convolutional backbone; or stripes = None.",
            )
        means = functional.adaptive_avg_pool2d(rows.float(), (self.n_stripes, 1)).squeeze(3)
        reduced = functional.relu(self.norm(self.squeeze(means)))
        return functional.normalize(reduced, dim=1).transpose(1, 2)


def unit(feature: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Return the rows scaled to length 1; a row of zeros stays zero."""
    return functional.normalize(feature, dim=1)


def build_head(
    head: specs.Head, *, width: int, n_classes: int
) -> LinearLogits | Answers | OneVsRest | CosineLogits | Affinities | None:
    """Return the module that computes the logits, or None for a head without logits.

    Args:
        head: Settings of the head.
        width: Length of its input feature.
        n_classes: Number of labels, answers, identities or classes.

    Raises:
        ShapeError: A head for questions has no layout, or its layout has another number of answers.
    """
    match head:
        case specs.SigmoidHead():
            return LinearLogits(width, n_classes)
        case specs.QuestionsHead():
            if head.layout is None or len(head.layout.label_of) != n_classes:
                raise ShapeError(
                    "layout: a head for questions needs the layout of its answers.",
                    got=f"a layout of {len(head.layout.label_of) if head.layout else 0} answers, {n_classes} classes",
                    fix="let a train stage build the head, or set its layout.",
                )
            return Answers(width, head.layout, conditional=head.form == "conditional")
        case specs.OneVsRestHead():
            return OneVsRest(width, n_classes, scale=head.scale)
        case specs.CosineHead():
            return CosineLogits(width, n_classes, scale=head.scale, centres=head.centres)
        case specs.AffinityHead():
            return Affinities(width, n_classes, centres=head.centres, sigma=head.sigma)
        case specs.EmbeddingHead() | specs.PairHead():
            return None
