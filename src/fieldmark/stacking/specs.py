"""Settings of the second level (no arrays, no lightgbm): candidates, columns, trees, text models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec

Noise = Annotated[float, Field(gt=0, lt=0.5)]
"""A number above 0 and below one half."""
SomeShare = Annotated[float, Field(gt=0, le=1)]


class Candidates(Spec):
    """Which cells (an image and a label) are scored by the second level.

    Attributes:
        top_k: Maximum rank of the label within the image, by at least one model.
        least: Minimum probability of the label by that model.
        unite_positives: Also train on true labels that no model ranks high enough. They are never scored, as they are
            known from the truth only.
    """

    top_k: Count = 20
    least: Fraction = 0.0
    unite_positives: bool = False


class Negatives(Spec):
    """Number of negative cells used for training; the probabilities are corrected for it afterwards.

    Attributes:
        per_positive: Negative cells per positive one, drawn at random; None: all.
    """

    per_positive: Positive | None = 8.0


class Relevance(Spec):
    """Settings of label transfer from the most similar photos.

    Attributes:
        k: Number of neighbours.
        sharpness: How fast the weight falls with the distance: it is ``exp(-sharpness * (1 - cosine))``.
        noise: Probability that a photo has, or lacks, a label by mistake.
    """

    k: Count = 20
    sharpness: Positive = 20.0
    noise: Noise = 0.001


class TableColumns(Spec):
    """The columns of the table besides each model's probability.

    Attributes:
        combinations: Sum, quotient and product of the probabilities of every two and three models.
        spread: Mean, median, standard deviation, maximum and minimum over the models.
        ranks: Rank of the label within its image, by each model.
        statistics: Image statistics: brightness, colourfulness, longer side, and portrait or landscape format.
        imagenet: The 1,000 ImageNet probabilities of the included backbone: ``raw`` as 1,000 columns (small data sets
            only), ``reduced`` to one number per cell and ``n_components`` per image, or ``off``.
        n_components: Number of principal components of the reduced form, at most the number of ImageNet classes.
        share: Share of photos with the label.
        label: The label and its group.
        relevance: Label transfer from similar photos; None: not used.
    """

    combinations: bool = True
    spread: bool = True
    ranks: bool = True
    statistics: bool = True
    imagenet: Literal["raw", "reduced", "off"] = "reduced"
    n_components: Natural = 8
    share: bool = True
    label: bool = True
    relevance: Relevance | None = Relevance()


class Trees(Spec):
    """Boosted trees that predict for every cell whether the image has the label.

    Attributes:
        n_rounds: Number of trees.
        learning_rate: Weight of each new tree.
        num_leaves: Maximum number of leaves per tree.
        min_data_in_leaf: Minimum number of cells per leaf.
        feature_fraction: Share of the columns used per tree.
        bagging_fraction: Share of the cells used per tree.
        lambda_l2: L2 regularisation of the leaf values.
    """

    n_rounds: Count = 200
    learning_rate: SomeShare = 0.05
    num_leaves: Annotated[int, Field(ge=2, le=4096)] = 31
    min_data_in_leaf: Count = 100
    feature_fraction: SomeShare = 0.7
    bagging_fraction: SomeShare = 0.8
    lambda_l2: Annotated[float, Field(ge=0)] = 1.0


class Stacking(Spec):
    """All settings of the second level."""

    candidates: Candidates = Candidates()
    negatives: Negatives = Negatives()
    features: TableColumns = TableColumns()
    trees: Trees = Trees()


class TransferSearch(Spec):
    """Search for the settings of label transfer and its weight in the average with the networks' predictions.

    Attributes:
        relevance: Neighbour settings to try; those with the highest likelihood of the known labels are used.
        weights: Weights of the transferred labels to try, the networks having the rest; the one with the best mean F2
            is used.
    """

    relevance: Annotated[tuple[Relevance, ...], Field(min_length=1)] = tuple(
        Relevance(k=k, sharpness=sharpness) for k in (10, 30) for sharpness in (5.0, 20.0)
    )
    weights: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


class Tuning(Spec):
    """Search for tree settings with Optuna, on other photos than those the trees then predict.

    Attributes:
        n_trials: Number of settings tried for each part.
    """

    n_trials: Count = 20


class IdentityStacking(Spec):
    """Boosted trees that re-rank the most similar individuals of a photo.

    Attributes:
        n_photos: Number of nearest photos whose individuals are candidates.
        columns: ``likeness``: cosines, ranks and counts. ``embedding``: only the difference of the two photos in the
            principal components of the gallery (PCA). ``both``: both.
        n_components: Number of principal components.
        n_parts: Number of parts of the photos; each is predicted by trees that were trained on the other parts.
        negatives: Number of wrong candidates used for training.
        trees: Settings of the trees.
        tuning: Search for better tree settings; None: no search.
    """

    n_photos: Count = 100
    columns: Literal["likeness", "embedding", "both"] = "likeness"
    n_components: Count = 16
    n_parts: Annotated[int, Field(ge=2)] = 5
    negatives: Negatives = Negatives(per_positive=30.0)
    trees: Trees = Trees(n_rounds=120, num_leaves=15, min_data_in_leaf=40)
    tuning: Tuning | None = None


Span = tuple[Count, Count]
"""Minimum and maximum length."""


class Linear(Spec):
    """Logistic regression with a softmax within each question; scikit-learn's, with the SAGA solver.

    Attributes:
        strength: Inverse regularisation: scikit-learn's ``C``.
        rounds: Maximum number of passes over the texts.
    """

    strength: Positive = 10.0
    rounds: Count = 20


class NGrams(Spec):
    """Text model on character and word n-grams; needs no pretrained model and trains in seconds.

    Attributes:
        characters: Minimum and maximum length of character n-grams; None: not used.
        words: Minimum and maximum length of word n-grams; None: not used.
        least: Minimum number of texts that contain an n-gram.
        most: Maximum number of n-grams per kind, the most common ones; limits the memory.
        most_characters: Maximum number of characters read per text.
        linear: Settings of the linear model.
    """

    kind: Literal["ngrams"] = "ngrams"
    characters: Span | None = (3, 5)
    words: Span | None = (1, 2)
    least: Count = 2
    most: Count = 2**15
    most_characters: Count = 1000
    linear: Linear = Linear()

    @model_validator(mode="after")
    def _something_is_read(self) -> Self:
        spans = [span for span in (self.characters, self.words) if span is not None]
        if not spans or any(shortest > longest for shortest, longest in spans):
            raise ValueError("characters or words must be given, with the shortest length first")
        return self


class MiniLm(Spec):
    """Text model on sentence embeddings of an included language model (English), with a linear model on top.

    Attributes:
        max_tokens: Maximum number of tokens read per text.
        linear: Settings of the linear model.
    """

    kind: Literal["minilm"] = "minilm"
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    linear: Linear = Linear(strength=100.0)


TextModel = Annotated[NGrams | MiniLm, Field(discriminator="kind")]
