"""A finished run as an expert: ranked identities for any photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.spec import read
from fieldmark.data.collection import Collection
from fieldmark.decisions.ranking import candidates
from fieldmark.gallery.fusion import Fusion
from fieldmark.gallery.store import GalleryStore
from fieldmark.stacking.identity_trees import IdentityTrees
from fieldmark.stages.blend import Blend
from fieldmark.stages.embed import Embed
from fieldmark.stages.engine import Opened, open_run
from fieldmark.stages.finding import with_found
from fieldmark.stages.local_evidence import KEPT, Looker, Rechecked, fused
from fieldmark.stages.misfits import eye
from fieldmark.stages.nets import SavedNet, saved_nets
from fieldmark.stages.plan import answering_stage, ranking_stage
from fieldmark.stages.rank import Rank, identity_scores
from fieldmark.stages.ranked import Decision
from fieldmark.stages.recheck import FUSION, Recheck
from fieldmark.stages.relocating import refuse_lost
from fieldmark.stages.rescore import Rescore, rescored
from fieldmark.stages.stack_identities import TREES, StackIdentities, mean_of, rivals_of, scattered


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
        proba: Probability that this answer is right; told of the first name and of "nobody we know", where the run
            learnt it.
    """

    place: int
    identity: str
    score: float
    is_new: bool
    photo: Path | None
    similarity: float | None
    proba: float | None = None


@dataclass(frozen=True)
class Identification:
    """Who is on one photo: the matches, best first.

    Attributes:
        image: The photo's id.
        file: Its file.
        matches: The answers.
        known_proba: Probability that the animal is one we know; None where the run could not learn it.
        right_proba: Probability that the first name is right; None likewise.
    """

    image: str
    file: Path
    matches: tuple[Match, ...]
    known_proba: float | None = None
    right_proba: float | None = None

    @property
    def is_new(self) -> bool:
        """Whether the first answer is "nobody we know"."""
        return bool(self.matches) and self.matches[0].is_new


class Expert:
    """Networks, galleries and the decision of a finished run.

    Args:
        opened: The run.
        device: Where to compute.

    Raises:
        RunError: The run is not finished; or it matches points, and known photos are not where they were.

    Example:
        ``Expert.open(Path("runs/whales")).identify([Path("photo.jpg")])``
    """

    def __init__(self, opened: Opened, *, device: str = "auto") -> None:
        self.opened = opened = opened.up_to(answering_stage(opened.plan).name)
        stages = {stage.name: stage for stage in opened.plan.stages}
        last = final = ranking_stage(opened.plan)
        self.recheck = last if isinstance(last, Recheck) else None
        if self.recheck is not None:
            refuse_lost(opened)
            last = stages[self.recheck.reads_from]
        self.rescore = last if isinstance(last, Rescore) else None
        if self.rescore is not None:
            last = stages[self.rescore.reads_from]
        self.blend = last if isinstance(last, Blend) else None
        blended = () if self.blend is None else self.blend.reads_from
        self.experts = [Expert(opened.up_to(name), device=device) for name in blended]
        self.rank = last if isinstance(last, Rank | StackIdentities) else self.experts[0].rank
        self.embed = cast("Embed", stages[cast("str", eye(final.name, stages))])
        self._shown = next((one for one in self.experts if one.embed == self.embed), None)
        self.k = final.k
        self.decision = Decision.read(opened.run.stage(final.name))
        self.unknown_at = self.decision.threshold.at
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
        """The networks, one a fold; of a blend, those whose photos are shown and compared."""
        if self._shown is not None:
            return self._shown.nets
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
        total, embeddings, _ = self._judged(photos, n_workers=n_workers, progress=progress)
        return total, embeddings

    def side_by_side(
        self, photos: Collection, *, n_workers: int = 2, progress: Progress = QUIET
    ) -> tuple[np.ndarray, Rechecked | None]:
        """Each identity's score for each photo, and what points said of its shortlist; None if the run matches none."""
        total, _, found = self._judged(photos, n_workers=n_workers, progress=progress)
        return total, found

    def _judged(
        self, photos: Collection, *, n_workers: int, progress: Progress
    ) -> tuple[np.ndarray, list[np.ndarray], Rechecked | None]:
        """Scores, embeddings and points."""
        # Not their own ids: two cameras may both have an IMG_0001.jpg, and a gallery leaves out the query's own id.
        asked = [f"\x1fasked {number}" for number in range(len(photos))]
        looked = self._blended if self.blend is not None else self._looked
        total, embeddings = looked(photos, asked, n_workers=n_workers, progress=progress)
        if self.recheck is None:
            return total, embeddings, None
        run = self.opened.run
        fusion: Fusion = read(Fusion, run.stage(self.recheck.name) / FUSION)
        found = self._rechecked(self.recheck, photos, total, embeddings[0], asked, progress)
        return fused(total, found, fusion), embeddings, found

    def _looked(
        self, photos: Collection, asked: list[str], *, n_workers: int, progress: Progress
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The scores of one ranking, looked at again by pairs if the run does so; the embeddings."""
        known = self.opened.known
        photos = with_found(photos, self.nets[0].preprocess.finders(), n_workers=n_workers, progress=progress)
        total = np.zeros((len(photos), len(known.vocabulary.identities)), dtype=np.float32)
        embeddings, judged = [], []
        for net, gallery in zip(self.nets, self.galleries, strict=True):
            looked = net.look(
                photos,
                flip=self.embed.flip,
                n_identities=total.shape[1],
                n_workers=n_workers,
                progress=progress,
                what="photos",
            )
            judged.append(self._by_one(looked.embedding, asked, looked.proba, gallery))
            embeddings.append(looked.embedding)
        total = mean_of(judged) if isinstance(self.rank, StackIdentities) else sum(judged, total) / len(self.nets)
        if self.rescore is not None:
            total = rescored(
                self.rescore,
                self.opened,
                photos,
                total,
                images=asked,
                device=self._device,
                n_workers=n_workers,
                progress=progress,
            )
        return total, embeddings

    def _by_one(
        self, embedding: np.ndarray, asked: list[str], proba: np.ndarray | None, gallery: GalleryStore
    ) -> np.ndarray:
        """Each identity's score by one network and its gallery."""
        n_classes = len(self.opened.known.vocabulary.identities)
        if isinstance(self.rank, Rank):
            return identity_scores(
                self.rank.votes,
                query=embedding,
                images=asked,
                proba=proba,
                gallery=gallery,
                n_classes=n_classes,
                reciprocal=self.rank.reciprocal,
            )
        known = self.opened.known.images
        found = rivals_of(self.rank.settings, gallery, embedding, asked, trained_on=known, proba=proba)
        trees = IdentityTrees.load(self.opened.run.stage(self.rank.name) / TREES)
        return scattered(found, trees.judge(found.table, found.names), n_classes)

    def _blended(
        self, photos: Collection, asked: list[str], *, n_workers: int, progress: Progress
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The scores of the experts behind each blended ranking, blended; embeddings by the one that is compared."""
        del asked
        stage = cast("Blend", self.blend)
        looked = [one.scores(photos, n_workers=n_workers, progress=progress) for one in self.experts]
        scales = stage.scales(self.opened.run.stage(stage.name))
        at = [one.decision.at(photos) for one in self.experts]
        embeddings = looked[self.experts.index(cast("Expert", self._shown))][1]
        return stage.mixed([scores for scores, _ in looked], at, scales), embeddings

    @cached_property
    def _known(self) -> Collection:
        """The known photos with what boxes stages have found on them."""
        return self.opened.job().known

    def _rechecked(
        self,
        stage: Recheck,
        photos: Collection,
        scores: np.ndarray,
        embedding: np.ndarray,
        asked: list[str],
        progress: Progress,
    ) -> Rechecked:
        """What points say, as the recheck stage asked them for new photos."""
        return Looker(stage.evidence, self.opened.run.path / KEPT, within=stage.within).recheck(
            with_found(photos, (stage.within,), progress=progress),
            scores,
            embedding,
            images=asked,
            gallery=self.galleries[0],
            known=self._known,
            shortlist=stage.shortlist,
            n_photos=stage.photos,
            progress=progress,
        )

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
        answers = candidates(scores, unknown_at=self.decision.at(photos), k=k or self.k)
        sure, found = self.decision.sure(scores), []
        for row, (image, file, answer) in enumerate(zip(photos.images, photos.paths, answers, strict=True)):
            named = [one.identity for one in answer if not one.is_unknown]
            known_proba, right_proba = (
                (None, None) if sure is None else (_told(sure.known[row]), _told(sure.right[row]))
            )
            nearest = self._nearest(embeddings[0][:, row : row + 1], named)
            matches = tuple(
                Match(
                    place=one.place,
                    identity=known.vocabulary.unknown if one.is_unknown else known.vocabulary.identities[one.identity],
                    score=one.score,
                    is_new=one.is_unknown,
                    photo=None if one.is_unknown else known.paths[nearest[one.identity][0]],
                    similarity=None if one.is_unknown else nearest[one.identity][1],
                    proba=(None if known_proba is None else 1 - known_proba)
                    if one.is_unknown
                    else right_proba
                    if one.identity == named[0]
                    else None,
                )
                for one in answer
            )
            found.append(Identification(image, file, matches, known_proba=known_proba, right_proba=right_proba))
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


def _told(proba: float) -> float | None:
    return None if np.isnan(proba) else float(proba)
