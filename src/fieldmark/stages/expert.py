"""A finished run as an expert: ranked identities for any photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fieldmark.core.files import read_json
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import Collection
from fieldmark.decide.ranking import candidates
from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.embed import Embed
from fieldmark.stages.engine import Opened, open_run
from fieldmark.stages.nets import SavedNet, saved_nets
from fieldmark.stages.rank import DECISION, Rank, identity_scores


@dataclass(frozen=True)
class Match:
    """One place of an answer.

    Attributes:
        place: 1 is first.
        identity: Name; the word for "nobody we know" where that stands.
        score: Larger is likelier; the threshold for "nobody we know".
        is_new: Whether this place says "nobody we know".
        photo: The most alike photo of this identity in the gallery; None for "nobody we know".
        similarity: Its cosine (mean over views), -1 to 1.
    """

    place: int
    identity: str
    score: float
    is_new: bool
    photo: Path | None
    similarity: float | None


@dataclass(frozen=True)
class Identification:
    """Who is on one photo: the matches, best first."""

    image: str
    file: Path
    matches: tuple[Match, ...]

    @property
    def is_new(self) -> bool:
        """Whether the first answer is "nobody we know"."""
        return bool(self.matches) and self.matches[0].is_new


class Expert:
    """Networks, galleries and the decision of a finished run.

    Args:
        opened: The run.
        device: Where to compute.

    Example:
        ``Expert.open(Path("runs/whales")).identify([Path("photo.jpg")])``
    """

    def __init__(self, opened: Opened, *, device: str = "auto") -> None:
        self.opened = opened
        self.rank = opened.plan.only(Rank)
        self.embed = next(
            stage for stage in opened.plan.stages if isinstance(stage, Embed) and stage.name == self.rank.reads_from
        )
        self.unknown_at = float(read_json(opened.run.stage(self.rank.name) / DECISION)["at"])
        self._device = device

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto") -> Expert:
        """The expert in a run folder.

        Raises:
            RunError: No run lies there, or it is not finished.
        """
        return cls(open_run(folder), device=device)

    @cached_property
    def nets(self) -> list[SavedNet]:
        """The networks, one a fold."""
        return saved_nets(self.opened.run.stage(self.embed.of), device=self._device)

    @cached_property
    def galleries(self) -> list[GalleryStore]:
        """The known photos as each network sees them."""
        place = self.opened.run.stage(self.embed.name)
        return [GalleryStore.open(place / f"gallery{k}", made_by=net.sha256) for k, net in enumerate(self.nets)]

    def scores(
        self, photos: Collection, *, n_workers: int = 2, progress: Progress = QUIET
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Each identity's score for each photo (mean over networks), and the photos' embeddings by each network."""
        known = self.opened.known
        total = np.zeros((len(photos), len(known.vocabulary.identities)), dtype=np.float32)
        embeddings = []
        # Not their own ids: two cameras may both have an IMG_0001.jpg, and a gallery leaves out the query's own id.
        asked = [f"\x1fasked {number}" for number in range(len(photos))]
        for net, gallery in zip(self.nets, self.galleries, strict=True):
            looked = net.look(
                photos,
                flip=self.embed.flip,
                n_identities=total.shape[1],
                n_workers=n_workers,
                progress=progress,
                what="photos",
            )
            total += identity_scores(
                self.rank.votes,
                query=looked.embedding,
                images=asked,
                proba=looked.proba,
                gallery=gallery,
                n_classes=total.shape[1],
            )
            embeddings.append(looked.embedding)
        return total / len(self.nets), embeddings

    def identify(
        self, photos: Collection, *, k: int | None = None, n_workers: int = 2, progress: Progress = QUIET
    ) -> list[Identification]:
        """Ranked identities for each photo, "nobody we know" where it stands, each with its most alike known photo.

        Args:
            photos: Any photos; their identities are not looked at.
            k: Places an answer; None for as many as the run was made with.
            n_workers: Threads that read photos ahead.
            progress: Told as batches end.
        """
        known = self.opened.known
        scores, embeddings = self.scores(photos, n_workers=n_workers, progress=progress)
        answers = candidates(scores, unknown_at=self.unknown_at, k=k or self.rank.k)
        found = []
        for row, (image, file, answer) in enumerate(zip(photos.images, photos.paths, answers, strict=True)):
            named = [one.identity for one in answer if not one.is_unknown]
            nearest = self._nearest(embeddings[0][:, row : row + 1], named)
            matches = tuple(
                Match(
                    place=one.place,
                    identity=(known.vocabulary.unknown or "new")
                    if one.is_unknown
                    else known.vocabulary.identities[one.identity],
                    score=one.score,
                    is_new=one.is_unknown,
                    photo=None if one.is_unknown else known.paths[nearest[one.identity][0]],
                    similarity=None if one.is_unknown else nearest[one.identity][1],
                )
                for one in answer
            )
            found.append(Identification(image=image, file=file, matches=matches))
        return found

    def _nearest(self, query: np.ndarray, identities: Sequence[int]) -> dict[int, tuple[int, float]]:
        """Row and similarity of the most alike known photo of each identity, by the first network."""
        if not identities:
            return {}
        rows, similarity = self.galleries[0].best_photos(query, ["\x1fasked"], np.asarray([identities]))
        return {
            identity: (int(row), float(value))
            for identity, row, value in zip(identities, rows[0], similarity[0], strict=True)
        }
