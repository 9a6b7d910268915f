"""The stage *rerank_keypoints*: re-ranks the first candidates of a ranking by keypoint matching."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.seeds import generator
from fieldmark.core.spec import Count
from fieldmark.data.collection import Collection
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery.fusion import Fusion, fit_by_part, fit_fusion
from fieldmark.gallery.specs import KeypointMatching
from fieldmark.gallery.store import GalleryStore
from fieldmark.images.specs import Finder, TableBoxes
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.keypoints import KeypointRanking, ShortlistMatches, keypoint_pairs
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.relocating import refuse_lost
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.training_checks import unfound
from fieldmark.stages.identity.keypoints import KEPT, KeypointComparer, fused, try_out
from fieldmark.stages.identity.ranking import RankingStage, Scores, gallery_of, learnt

N_PARTS = 5


@stage
class RerankKeypoints(RankingStage):
    """Match the keypoints of each photo with photos of its highest-ranked individuals, and re-rank them.

    An embedding describes a photo as a whole. Keypoints show that two photos share a detail, such as a scar. Matching
    one pair takes about 0.01 s, so only the individuals on the shortlist of a faster ranking are compared. Ranking
    score and keypoint matches are combined into one probability, with weights that are fitted on the validation photos.
    The probability of a validation photo comes from weights that are fitted without it and without its copies.

    Attributes:
        reads_from: Ranking stage whose scores make the shortlist.
        embedded: Embed stage behind the ranking (any of them for an ensemble). It finds the most similar photos of an
            individual.
        matching: Keypoint method, and rules for counting matches.
        within: Finder whose masks and boxes limit the keypoints: those of the photos' table, or those of a ``boxes``
            stage with the same finder.
        shortlist: Number of individuals per photo.
        photos: Largest number of photos per individual; the most similar ones are compared.
    """

    output = KeypointRanking
    kind: Literal["rerank_keypoints"] = "rerank_keypoints"
    reads_from: Annotated[str, Ref(Ranking)]
    embedded: Annotated[str, Ref(Embeddings)]
    matching: KeypointMatching = KeypointMatching()
    within: Finder = TableBoxes()
    shortlist: Count = 10
    photos: Count = 2

    def shown(self, earlier: Mapping[str, Stage]) -> str | None:
        """Return the name of the embed stage that finds the most similar photos."""
        del earlier
        return self.embedded

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return mistakes: boxes that no stage finds, and an embed stage that the ranking does not use."""
        found = super().check(earlier) + unfound(self.name, (self.within,), earlier)
        source = earlier.get(self.reads_from)
        behind = _behind(source, earlier)
        if behind and self.embedded not in behind and isinstance(earlier.get(self.embedded), Stage):
            found.append(
                f"{self.name}: 'embedded' names '{self.embedded}', but '{self.reads_from}' uses {' and '.join(behind)}"
            )
        return found

    def ready(self, known: Collection, new: Collection | None) -> None:
        """Match keypoints once, so that a missing package or weights file is reported before training.

        Raises:
            FieldmarkError: OpenCV or weights are missing, or some boxes lie outside their photos.
        """
        from fieldmark.quality.regions.finding import refuse_outside

        try_out(self.matching)
        for photos in (known, new):
            if photos is not None:
                refuse_outside(photos, (self.within,))

    def usable(self, context: Context) -> None:
        """Check that the files of the known photos exist, because their keypoints are matched.

        Raises:
            RunError: Some files are missing, or the decision cannot be read.
        """
        super().usable(context)
        refuse_lost(context)

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return the probabilities of the validation photos. Write the weights and all compared pairs into ``folder``.

        Raises:
            FieldmarkError: OpenCV or weights are missing, or too few validation photos show known individuals.
        """
        scores, truth = context.artifact(Ranking, self.reads_from).scores, folds.classes(context.known)[folds.rows]
        photos = context.known.take(folds.rows)
        found = self._of_validation(context, scores, folds)
        fusion, proba = self._fused(context.known.groups[folds.rows], truth, scores, found, seed=context.seed)
        left, table = KeypointRanking(folder), keypoint_pairs("validation", photos, found, context.known)
        left.write_fusion(fusion)
        left.write_matches(table)
        has_label = truth >= -1
        before = fit_unknown_threshold(self.unknown, scores[has_label], truth[has_label], k=self.k).map_at_k
        return proba, f"{table.height:,} pairs of photos compared; MAP@{self.k} {before:.4f} before"

    def apply(self, ask: Ask) -> RankedPhotos:
        """Return the probabilities and keypoint matches of any photos."""
        scores = ask.value(RankedPhotos, self.reads_from).scores
        if not len(ask.photos):
            return RankedPhotos(scores, self.k)
        embeddings = ask.artifact(Embeddings, self.embedded)
        k = ask.folds(embeddings.n_folds)[0]
        embedding = ask.value(Embedded, self.embedded).embedding[k]
        gallery = gallery_of(ask, self.embedded, self.on, k=k)
        found = self._matched(ask.context, ask.photos, scores, embedding, gallery)
        fusion = ask.fitted(KeypointRanking).fusion
        return RankedPhotos(fused(scores, found, fusion), self.k, learnt=learnt(ask), keypoints=found)

    def scores(self, ask: Ask) -> Scores:
        """Return the probabilities of any photos."""
        return self.apply(ask).scores

    def _of_validation(self, context: Context, scores: Scores, folds: Folds) -> ShortlistMatches:
        """Return the keypoint matches of each fold's validation photos with the photos of the other folds."""
        embeddings, fold = context.artifact(Embeddings, self.embedded), folds.fold[folds.rows]
        order, found = [], []
        for k in range(folds.n_folds):
            own = np.flatnonzero(fold == k)
            photos = context.known.take(folds.rows[own])
            gallery = embeddings.gallery_apart(k, folds, context.known)
            found.append(self._matched(context, photos, scores[own], embeddings.validation(k), gallery))
            order.append(own)
        back = np.argsort(np.concatenate(order))
        return ShortlistMatches(
            *(
                np.concatenate([getattr(one, name) for one in found])[back]
                for name in ("names", "numbers", "photo", "n_matches", "n_inliers")
            )
        )

    def _matched(
        self,
        context: Context,
        queries: Collection,
        scores: Scores,
        embedding: Float32[np.ndarray, "view query dim"],
        gallery: GalleryStore,
    ) -> ShortlistMatches:
        return KeypointComparer(self.matching, context.run.path / KEPT, within=self.within).compare(
            queries,
            scores,
            embedding,
            gallery=gallery,
            known=context.known,
            shortlist=self.shortlist,
            n_photos=self.photos,
            progress=context.progress,
        )

    @staticmethod
    def _fused(
        groups: Int64[np.ndarray, " photo"],
        truth: Int64[np.ndarray, " photo"],
        scores: Scores,
        found: ShortlistMatches,
        *,
        seed: int,
    ) -> tuple[Fusion, Scores]:
        """Return weights fitted on all validation photos, and out-of-fold probabilities of these photos."""
        distinct, at = np.unique(groups, return_inverse=True)
        part = (generator(seed, "recheck").permutation(len(distinct)) % N_PARTS)[at]
        there = (found.photo >= 0) & (truth >= -1)[:, None]  # photos without an identity are left out
        numbers, same = found.numbers[there], (found.names == truth[:, None])[there]
        proba = np.empty_like(scores)
        for one, fusion in fit_by_part(numbers, same, np.broadcast_to(part[:, None], there.shape)[there]).items():
            own = part == one
            proba[own] = fused(scores[own], _take(found, own), fusion)
        return fit_fusion(numbers, same), proba


def _behind(source: Stage | None, earlier: Mapping[str, Stage]) -> list[str]:
    """Return the names of the embed stages behind a ranking stage; for an ensemble, those of all members."""
    if not isinstance(source, RankingStage):
        return []
    members = [one for one in (earlier.get(name) for name in source.reads()) if isinstance(one, RankingStage)]
    shown = [source.shown(earlier)] if len(members) < 2 else [one.shown(earlier) for one in members]
    return [one for one in shown if one is not None]


def _take(found: ShortlistMatches, rows: np.ndarray) -> ShortlistMatches:
    """Return the matches of some queries."""
    return ShortlistMatches(
        found.names[rows], found.numbers[rows], found.photo[rows], found.n_matches[rows], found.n_inliers[rows]
    )
