"""Answers of runs of the tagging task: the labels of each photo, with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.predictions import LabelledPhotos

MOST_TAGS = 15


@dataclass(frozen=True)
class Tag:
    """A label of a photo.

    Attributes:
        label: Name of the label.
        group: Label group; empty if it has none.
        proba: Probability of the label, 0 to 1.
        given: Whether the label is predicted, by the thresholds of the run.
    """

    label: str
    group: str
    proba: float
    given: bool


@dataclass(frozen=True)
class Tagged:
    """The most probable labels of one photo.

    Attributes:
        image: Id of the photo.
        file: Image file.
        tags: Labels, most probable first. Those with ``given`` are the predicted labels.
    """

    image: str
    file: Path
    tags: tuple[Tag, ...]

    @property
    def answer(self) -> tuple[str, ...]:
        """Return the predicted labels."""
        return tuple(tag.label for tag in self.tags if tag.given)


def tagged(application: Application, *, most: int | None = None) -> list[Tagged]:
    """Return the labels of each photo: all predicted labels, and the most probable others up to ``most``.

    Args:
        application: The stages of a run, applied to the photos.
        most: Number of labels per photo in the output, predicted or not; None for 15.
    """
    photos, vocabulary = application.photos, application.context.known.vocabulary
    value: LabelledPhotos = application.value(application.context.plan.answering().name)
    most, found = most or MOST_TAGS, []
    for image, file, values, given in zip(photos.images, photos.paths, value.proba, value.given, strict=True):
        order = np.argsort(-values, kind="stable")
        chosen = [column for place, column in enumerate(order.tolist()) if given[column] or place < most]
        tags = (Tag(vocabulary.tags[c], vocabulary.tag_groups[c], float(values[c]), bool(given[c])) for c in chosen)
        found.append(Tagged(image=image, file=file, tags=tuple(tags)))
    return found
