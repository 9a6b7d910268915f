"""The stage *rerank_pairs*: re-ranks the first candidates of a ranking with a pair head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64

from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json, write_json
from fieldmark.core.spec import Count, Fraction
from fieldmark.decisions.ranking import top
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.models import Models
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.ranking import RankingStage, Scores, gallery_of

if TYPE_CHECKING:
    from fieldmark.pipeline.networks import SavedNet

RERANKING = "rescoring.json"
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
"""Candidate weights of the pair head."""


@stage
class RerankPairs(RankingStage):
    """Score each photo's highest-ranked individuals with a pair head, and average these scores with the ranking's.

    An embedding is computed from one photo. A pair head compares two photos directly, but has to be computed for each
    pair, so only the individuals on the shortlist of a faster ranking are compared. The score of an individual is the
    highest pair probability among its photos. Individuals off the shortlist get 0.

    Attributes:
        reads_from: Ranking stage whose scores make the shortlist, from any network.
        of: Train stage with the pair heads.
        embedded: Embed stage of that train stage.
        shortlist: Number of individuals per photo; None: all.
        weight: Weight of the pair head's probability; the ranking's score has the rest. 1: the pair head alone; None:
            the weight with the highest validation MAP@k.
    """

    kind: Literal["rerank_pairs"] = "rerank_pairs"
    reads_from: Annotated[str, Ref(Ranking)]
    of: Annotated[str, Ref(Models)]
    embedded: Annotated[str, Ref(Embeddings)]
    shortlist: Count | None = 20
    weight: Fraction | None = None

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return mistakes: networks without a pair head, and embeddings of other networks."""
        found = super().check(earlier)
        train, embed = earlier.get(self.of), earlier.get(self.embedded)
        if isinstance(train, Train) and train.net.head.kind != "pair":
            found.append(f"{self.name}: '{train.name}' has no pair head: set its head = {{kind = 'pair'}}")
        if isinstance(embed, Embed) and embed.of != self.of:
            found.append(f"{self.name}: '{embed.name}' uses the networks of '{embed.of}', not those of '{self.of}'")
        return found

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return the scores of the validation photos, and write the weight of the pair head into ``folder``."""
        scores, truth = context.artifact(Ranking, self.reads_from).scores, folds.classes(context.known)[folds.rows]
        paired = self._of_validation(context, scores, folds)
        has_label = truth >= -1
        weight = self.weight
        if weight is None:
            weight = self._best_weight(scores[has_label], paired[has_label], truth[has_label])
        before = fit_unknown_threshold(self.unknown, scores[has_label], truth[has_label], k=self.k).map_at_k
        write_json(folder / RERANKING, {"weight": weight, "map_before": before})
        was = "unknown" if before is None else f"{before:.4f}"
        return (
            mix_scores(scores, paired, weight=weight),
            f"weight of the pair head {weight:g}; MAP@{self.k} {was} before",
        )

    def scores(self, ask: Ask) -> Scores:
        """Return the scores of any photos: the weighted mean of pair heads and ranking."""
        scores = ask.value(RankedPhotos, self.reads_from).scores
        embedded, nets = ask.value(Embedded, self.embedded), ask.artifact(Models, self.of).nets(ask.context.device)
        folds = ask.folds(len(nets))
        paired = np.zeros_like(scores)
        for k in folds:
            gallery, by = gallery_of(ask, self.embedded, self.on, k=k), pair_scorer(nets[k])
            one = pair_scores(embedded.embedding[k], scores, gallery=gallery, by=by, shortlist=self.shortlist)
            paired += one / len(folds)
        weight = float(read_json(ask.context.folder(self.name) / RERANKING)["weight"])
        return mix_scores(scores, paired, weight=weight)

    def _of_validation(self, context: Context, scores: Scores, folds: Folds) -> Scores:
        """Return the scores of each fold's validation photos from the pair head of the fold."""
        embeddings, fold = context.artifact(Embeddings, self.embedded), folds.fold[folds.rows]
        paired = np.zeros_like(scores)
        for k, net in enumerate(context.artifact(Models, self.of).nets(context.device)):
            paired[fold == k] = pair_scores(
                embeddings.validation(k),
                scores[fold == k],
                gallery=embeddings.gallery_apart(k, folds, context.known),
                by=pair_scorer(net),
                shortlist=self.shortlist,
            )
        return paired

    def _best_weight(self, scores: Scores, paired: Scores, truth: Int64[np.ndarray, " photo"]) -> float:
        """Return the weight with the highest validation MAP@k, each with its best threshold; of equals the smallest.

        One number is chosen among 21 on hundreds of photos, so overfitting is unlikely.
        """
        reached = [
            fit_unknown_threshold(self.unknown, mix_scores(scores, paired, weight=one), truth, k=self.k).map_at_k
            for one in WEIGHTS
        ]
        return WEIGHTS[int(np.argmax([0.0 if one is None else one for one in reached]))]


def pair_scorer(net: SavedNet) -> Callable[[np.ndarray, np.ndarray], Float32[np.ndarray, " pair"]]:
    """Return a network's pair head as a function of two arrays of embeddings.

    The function returns the probability that two embeddings show the same individual.

    Raises:
        PlanError: The network has no pair head.
    """
    import torch

    pair = net.network.pair
    if pair is None:
        raise PlanError(
            "The network has no pair head.",
            got=f"a {net.network.net.head.kind} head",
            fix='name a train stage with head = {kind = "pair"}.',
        )

    def by(first: np.ndarray, second: np.ndarray) -> Float32[np.ndarray, " pair"]:
        with torch.no_grad():
            logits = pair(torch.from_numpy(first).to(net.device), torch.from_numpy(second).to(net.device))
        return torch.sigmoid(logits).cpu().numpy()

    return by


def pair_scores(
    query: Float32[np.ndarray, "view query dim"],
    scores: Float32[np.ndarray, "query identity"],
    *,
    gallery: GalleryStore,
    by: Callable[[np.ndarray, np.ndarray], Float32[np.ndarray, " pair"]],
    shortlist: int | None,
) -> Float32[np.ndarray, "query identity"]:
    """Return the pair probability of each query with the individuals on its shortlist; 0 for all others.

    Args:
        query: Embeddings of the queries, in the gallery's views.
        scores: Score of each individual; -inf if there is no photo to compare with.
        gallery: Photos of the known individuals, without the queries.
        by: Pair function: probability from 0 to 1 for pairs of embeddings.
        shortlist: Number of individuals per query; None: all.
    """
    names = top(scores, k=shortlist or scores.shape[1])[0]
    best = gallery.judged(query, None, names, by=by)
    paired = np.zeros(scores.shape, np.float32)
    at, place = np.nonzero(best > -np.inf)
    paired[at, names[at, place]] = best[at, place]
    return paired


def mix_scores(
    scores: Float32[np.ndarray, "query identity"], paired: Float32[np.ndarray, "query identity"], *, weight: float
) -> Float32[np.ndarray, "query identity"]:
    """Return the weighted mean of ranking scores and pair scores. -inf stays -inf.

    Individuals off the shortlist have a lower ranking score and a pair score of 0, so they cannot overtake those on it.
    """
    there = scores > -np.inf
    averaged = np.full(scores.shape, -np.inf, np.float32)
    averaged[there] = (1 - weight) * scores[there] + weight * paired[there]
    return averaged
