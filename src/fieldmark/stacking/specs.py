"""Settings of the second level (no arrays, no lightgbm): what is asked, of which cells, and of whom."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec

Noise = Annotated[float, Field(gt=0, lt=0.5)]
"""A share above 0 and below one half."""
SomeShare = Annotated[float, Field(gt=0, le=1)]


class Candidates(Spec):
    """Which cells (an image and a label) are worth judging.

    Attributes:
        top_k: The labels that any one model ranks this high in an image.
        least: Of those, the ones to which that model gives at least this probability.
        unite_positives: Learn also from true labels that no model ranked so high. They are never judged, as only
            the truth knows them.
    """

    top_k: Count = 20
    least: Fraction = 0.0
    unite_positives: bool = False


class Negatives(Spec):
    """How many wrong cells are learnt from; the probabilities are put right for it afterwards.

    Attributes:
        per_positive: Wrong cells for each right one, drawn at random; None takes all.
    """

    per_positive: Positive | None = 8.0


class Relevance(Spec):
    """How the labels of the most similar photos speak for a label.

    Attributes:
        k: Photos that have a say.
        sharpness: How much more the nearest says than the others: a say is ``exp(-sharpness * (1 - cosine))``.
        noise: How often a photo has, or lacks, a label by mistake.
    """

    k: Count = 20
    sharpness: Positive = 20.0
    noise: Noise = 0.001


class TableColumns(Spec):
    """The columns of the table besides each model's probability.

    Attributes:
        combinations: Sum, quotient and product of the probabilities of every two and three models.
        spread: Mean, median, standard deviation, greatest and least over the models.
        ranks: The label's place within its image, by each model.
        looks: Brightness, colourfulness, longer side, and whether taller than wide.
        imagenet: The shipped backbone's 1,000 ImageNet probabilities: ``raw`` as so many columns (small sets only),
            ``reduced`` to one number a cell and ``n_components`` an image, or ``off``.
        n_components: Principal components of the reduced form; at most the ImageNet classes are used.
        share: How common the label is.
        label: Which label it is, and of which group.
        relevance: What the labels of similar photos say; None for nothing.
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
    """Boosted trees that answer one question of every cell: does the image have the label?

    Attributes:
        n_rounds: Trees.
        learning_rate: How much each tree may correct.
        num_leaves: Leaves of a tree.
        min_data_in_leaf: Cells that a leaf must hold.
        feature_fraction: Share of the columns each tree may look at.
        bagging_fraction: Share of the cells each tree may look at.
        lambda_l2: Pull of the leaves towards zero.
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
    """Labels of similar photos beside the networks' own; what is tried, the best is taken.

    Attributes:
        relevance: Settings of the neighbours; the ones under which the known labels are likeliest.
        weights: Of what the neighbours say, the networks' having the rest; the one with the best mean F2.
    """

    relevance: Annotated[tuple[Relevance, ...], Field(min_length=1)] = tuple(
        Relevance(k=k, sharpness=sharpness) for k in (10, 30) for sharpness in (5.0, 20.0)
    )
    weights: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


class Tuning(Spec):
    """Settings of trees searched by Optuna, on other photos than those they then judge.

    Attributes:
        n_trials: Settings tried for each part.
    """

    n_trials: Count = 20


class IdentityStacking(Spec):
    """Trees that judge the likeliest individuals of a photo.

    Attributes:
        n_photos: Nearest photos whose individuals are judged.
        columns: ``likeness``: cosines, places and counts. ``embedding``: only the difference of the two photos in the
            main directions of the gallery (PCA). ``both``.
        n_components: Main directions.
        n_parts: Parts of the photos; each is judged by trees that learnt from the others.
        negatives: Wrong candidates learnt from.
        trees: Their settings.
        tuning: Search better ones; None: not.
    """

    n_photos: Count = 100
    columns: Literal["likeness", "embedding", "both"] = "likeness"
    n_components: Count = 16
    n_parts: Annotated[int, Field(ge=2)] = 5
    negatives: Negatives = Negatives(per_positive=30.0)
    trees: Trees = Trees(n_rounds=120, num_leaves=15, min_data_in_leaf=40)
    tuning: Tuning | None = None


Span = tuple[Count, Count]
"""Shortest and longest."""


class Linear(Spec):
    """Logistic regression, the answers of a question competing; scikit-learn's, by SAGA.

    Attributes:
        strength: How far weights may go from 0: scikit-learn's ``C``.
        rounds: How often each text is read, at most.
    """

    strength: Positive = 10.0
    rounds: Count = 20


class NGrams(Spec):
    """Reads the words of a text and pieces of them; knows nothing beforehand, learns in seconds.

    Attributes:
        characters: Lengths of the pieces of words, shortest and longest; None: no pieces.
        words: Words in a row, fewest and most; None: no words.
        least: Side features met in fewer texts are not learnt.
        most: Of the others, at most so many of each kind, the most common ones: bounds the memory.
        most_characters: A text is read up to here.
        linear: How it learns.
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
            raise ValueError("characters or words must be given, the shortest first")
        return self


class MiniLm(Spec):
    """Reads the sense of a text with a shipped language model (English), on which a linear model learns.

    Attributes:
        max_tokens: Word pieces that are read.
        linear: How the linear model learns.
    """

    kind: Literal["minilm"] = "minilm"
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    linear: Linear = Linear(strength=100.0)


TextModel = Annotated[NGrams | MiniLm, Field(discriminator="kind")]
