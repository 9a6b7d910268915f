"""Answers of runs that tag: the labels of each photo, with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.predictions import LabelledPhotos

MOST_TAGS = 15


@dataclass(frozen=True)
class Tag:
    """A label of a photo: its group, its probability, and whether the thresholds give it to the photo."""

    label: str
    group: str
    proba: float
    given: bool


@dataclass(frozen=True)
class Tagged:
    """What is on one photo: the likeliest labels, best first; those that are ``given`` are the answer."""

    image: str
    file: Path
    tags: tuple[Tag, ...]

    @property
    def answer(self) -> tuple[str, ...]:
        """The labels that the photo is given."""
        return tuple(tag.label for tag in self.tags if tag.given)


def tagged(application: Application, *, most: int | None = None) -> list[Tagged]:
    """The labels of each photo: all that are given, and the likeliest others up to ``most``.

    Args:
        application: The stages of a run, applied to the photos.
        most: Labels a photo, given or not; None for 15.
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
