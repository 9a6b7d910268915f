"""Necks and heads: what stands between a pooled feature and the embedding and logits of a network."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fieldmark.core.errors import ShapeError
from fieldmark.models import specs

Reads = Literal["pooled", "neck", "embedding"]
"""What a head takes: the pooled feature, what the neck made of it, or that at unit length."""

NEAREST = 1e-6
"""Least distance, in units of sigma, to a centre: at none at all the odds would be infinite."""


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


class LinearLogits(nn.Module):
    """One yes-or-no question a label, asked of the pooled feature as it is.

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
        """One logit a label."""
        return self.questions(feature)


class Answers(nn.Module):
    """One logit for each answer of each question; answers that are one label share it.

    Args:
        width: Number of features.
        layout: Which answer is which label, and which question's.
        conditional: Whether answers compete below the answer to the question above.

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
        # Not persistent: they stand in the settings, and weights of another layout must not bring theirs along.
        self.register_buffer("question_of", torch.tensor(layout.question_of), persistent=False)
        below = torch.zeros(len(layout.below), len(layout.below), dtype=torch.bool)
        for answer, above in enumerate(layout.below):
            below[answer, list(above)] = True
        self.register_buffer("below", below if conditional else None, persistent=False)

    def forward(self, feature: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch answer"]:
        """One logit an answer."""
        return self.labels(feature)[:, self.label_of]


class OneVsRest(nn.Module):
    """One yes-or-no question an identity, asked of the unit-length embedding: ``scale * (W f + b)``.

    An unknown individual is a no to all questions, so the head can say "nobody we know" without a class for it.

    Args:
        width: Length of the embedding.
        n_classes: Number of known identities.
        scale: Makes up for the embedding's unit length; 16 in the source.

    Source:
        Humpback Whale Identification 2018/19, first place; weights start as N(0, 0.001), read as the deviation.
    """

    reads: Reads = "embedding"

    def __init__(self, width: int, n_classes: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.questions = nn.Linear(width, n_classes)
        nn.init.normal_(self.questions.weight, std=0.001)
        nn.init.zeros_(self.questions.bias)

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """One logit an identity."""
        return self.scale * self.questions(embedding)


class CosineLogits(nn.Module):
    """Scaled cosines between the embedding and the nearest of some learned directions of each class.

    The place of ArcFace and its family: they change the true class's cosine, ``logits / scale``, in the loss, where
    the truth is known; what the head gives is what is used after training.

    Args:
        width: Length of the embedding.
        n_classes: Number of classes.
        scale: Logit of a cosine of 1.
        centres: Directions a class. An animal that looks one way from the left and another from the right need not be
            pulled to one place between, and odd photos gather at a direction of their own.

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
        # Classes come first: a warm start takes some of them.
        self.directions = nn.Parameter(directions if centres == 1 else directions.view(n_classes, centres, width))

    def forward(self, embedding: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch class"]:
        """``scale`` times the cosine to the nearest direction of each class."""
        cosines = functional.linear(embedding, unit(self.directions.flatten(0, -2)))
        return self.scale * nearest_centre(cosines.unflatten(1, (-1, self.n_centres)))


def nearest_centre(cosines: Float[Tensor, "batch class centre"]) -> Float[Tensor, "batch class"]:
    """The largest of each class's cosines; only that direction learns from the picture."""
    return cosines.max(dim=2).values


class Affinities(nn.Module):
    """Log-odds of the affinity to each class: ``exp(-d / sigma)``, d the squared distance to its nearest centre.

    Their sigmoid is the affinity, so that it can be read as every other head's answer is: what lies far from all
    centres is a no to every class.

    Args:
        width: Length of the feature.
        n_classes: Number of classes.
        centres: Of each class.
        sigma: Squared distance at which the affinity has fallen to 1 / e; None: ``width``, as the neck gives each
            feature a spread of 1.

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
        """One logit a class."""
        flat = self.centres.flatten(0, 1)
        lengths = feature.square().sum(dim=1, keepdim=True) + flat.square().sum(dim=1)
        squared = (lengths - 2 * functional.linear(feature, flat)).unflatten(1, self.centres.shape[:2])
        distance = (squared.min(dim=2).values / self.sigma).clamp(min=NEAREST)
        # log(s / (1 - s)) for s = exp(-distance), in a form that neither overflows nor rounds 1 - s to 0.
        return -distance - torch.log(-torch.expm1(-distance))


class Stripes(nn.Module):
    """Unit-length vectors of horizontal stripes of a feature map, top to bottom.

    Args:
        width: Channels of the map.
        n_stripes: How many; the map must have at least as many rows.
        channels_last: Maps come as batch, height, width, channel (Swin and kin).
        dim: Length of each vector; 512 in the source.

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
        """A vector a stripe.

        Raises:
            ShapeError: ``features`` is no map (but tokens, or a vector), or has fewer rows than there are stripes.
        """
        rows = features.movedim(-1, 1) if self.channels_last and features.ndim == 4 else features
        if rows.ndim != 4 or rows.shape[2] < self.n_stripes:
            raise ShapeError(
                f"A network with {self.n_stripes} stripes needs a feature map of as many rows.",
                got=f"features {tuple(features.shape)}" + (f", {rows.shape[2]} rows" if rows.ndim == 4 else ", no map"),
                fix="use fewer stripes, higher pictures or a convolutional backbone; or stripes = None.",
            )
        means = functional.adaptive_avg_pool2d(rows.float(), (self.n_stripes, 1)).squeeze(3)
        seen = functional.relu(self.norm(self.squeeze(means)))
        return functional.normalize(seen, dim=1).transpose(1, 2)


def unit(feature: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Every row at length 1; a row of zeros stays zero."""
    return functional.normalize(feature, dim=1)


def build_head(
    head: specs.Head, *, width: int, n_classes: int
) -> LinearLogits | Answers | OneVsRest | CosineLogits | Affinities | None:
    """The module that gives the logits; None for an embedding alone.

    Args:
        head: Its settings.
        width: Length of the feature it reads.
        n_classes: Number of labels, answers, identities or classes.

    Raises:
        ShapeError: A head for questions has no layout, or one of another number of answers.
    """
    match head:
        case specs.SigmoidHead():
            return LinearLogits(width, n_classes)
        case specs.QuestionsHead():
            if head.layout is None or len(head.layout.label_of) != n_classes:
                raise ShapeError(
                    "A head for questions must know which answers belong together.",
                    got=f"a layout of {len(head.layout.label_of) if head.layout else 0} answers, {n_classes} asked",
                    fix="let a train stage build it, or give the head its layout.",
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
