"""The kind *rescore*: the first candidates of a ranking, compared again by a pair head."""

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

RESCORING = "rescoring.json"
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
"""Weights of the pair head that are tried."""


@stage
class RerankPairs(RankingStage):
    """Compare each photo with its likeliest individuals by a pair head, and average its scores with the ranking's.

    An embedding is made of one photo alone; a pair head sees what two photos have in common, but must be asked about
    each pair. So the ranking of a quicker model makes a shortlist. An individual is as likely as the one of its photos
    that the pair head scores highest; those that are not on the shortlist get 0.

    Attributes:
        reads_from: The ranking stage whose scores make the shortlist; any network may be behind it.
        of: The train stage with the pair heads.
        embedded: The embed stage of that train stage.
        shortlist: Individuals a photo; None: everybody.
        weight: Of the pair head's probability; the ranking's own score has the rest. 1: the pair head alone; None: what
            serves validation photos best.
    """

    kind: Literal["rerank_pairs"] = "rerank_pairs"
    reads_from: Annotated[str, Ref(Ranking)]
    of: Annotated[str, Ref(Models)]
    embedded: Annotated[str, Ref(Embeddings)]
    shortlist: Count | None = 20
    weight: Fraction | None = None

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Networks without a pair head, or embeddings of others."""
        found = super().check(earlier)
        train, embed = earlier.get(self.of), earlier.get(self.embedded)
        if isinstance(train, Train) and train.net.head.kind != "pair":
            found.append(f"{self.name}: '{train.name}' has no pair head: give it head = {{kind = 'pair'}}")
        if isinstance(embed, Embed) and embed.of != self.of:
            found.append(f"{self.name}: '{embed.name}' embeds by '{embed.of}', not by '{self.of}'")
        return found

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Scores of validation photos; the weight of the pair head is written into ``folder``."""
        scores, truth = context.artifact(Ranking, self.reads_from).scores, folds.classes(context.known)[folds.rows]
        paired = self._of_validation(context, scores, folds)
        has_label = truth >= -1
        weight = self.weight
        if weight is None:
            weight = self._best_weight(scores[has_label], paired[has_label], truth[has_label])
        before = fit_unknown_threshold(self.unknown, scores[has_label], truth[has_label], k=self.k).map_at_k
        write_json(folder / RESCORING, {"weight": weight, "map_before": before})
        was = "unknown" if before is None else f"{before:.4f}"
        return mix_scores(scores, paired, weight=weight), f"the pair head weighs {weight:g}; MAP@{self.k} {was} before"

    def scores(self, ask: Ask) -> Scores:
        """Scores of any photos: the pair heads' mean beside the ranking's."""
        scores = ask.value(RankedPhotos, self.reads_from).scores
        embedded, nets = ask.value(Embedded, self.embedded), ask.artifact(Models, self.of).nets(ask.context.device)
        folds = ask.folds(len(nets))
        paired = np.zeros_like(scores)
        for k in folds:
            gallery, by = gallery_of(ask, self.embedded, self.on, k=k), pair_judge(nets[k])
            one = pair_scores(embedded.embedding[k], scores, gallery=gallery, by=by, shortlist=self.shortlist)
            paired += one / len(folds)
        weight = float(read_json(ask.context.folder(self.name) / RESCORING)["weight"])
        return mix_scores(scores, paired, weight=weight)

    def _of_validation(self, context: Context, scores: Scores, folds: Folds) -> Scores:
        """What the pair head of each fold says of the photos that validate it."""
        embeddings, fold = context.artifact(Embeddings, self.embedded), folds.fold[folds.rows]
        paired = np.zeros_like(scores)
        for k, net in enumerate(context.artifact(Models, self.of).nets(context.device)):
            paired[fold == k] = pair_scores(
                embeddings.validation(k),
                scores[fold == k],
                gallery=embeddings.gallery_apart(k, folds, context.known),
                by=pair_judge(net),
                shortlist=self.shortlist,
            )
        return paired

    def _best_weight(self, scores: Scores, paired: Scores, truth: Int64[np.ndarray, " photo"]) -> float:
        """The weight of highest MAP@k on validation photos, the threshold being the best for it; of equals the least.

        One number is chosen among 21 on hundreds of photos: it can hardly fit their noise.
        """
        reached = [
            fit_unknown_threshold(self.unknown, mix_scores(scores, paired, weight=one), truth, k=self.k).map_at_k
            for one in WEIGHTS
        ]
        return WEIGHTS[int(np.argmax([0.0 if one is None else one for one in reached]))]


def pair_judge(net: SavedNet) -> Callable[[np.ndarray, np.ndarray], Float32[np.ndarray, " pair"]]:
    """A network's pair head as a function of arrays: the probability that two embeddings are of one individual.

    Raises:
        PlanError: The network has none.
    """
    import torch

    pair = net.network.pair
    if pair is None:
        raise PlanError(
            "The network has no pair head to judge pairs by.",
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
    """What a judge of pairs says of each query and the individuals on its shortlist; 0 for all others.

    Args:
        query: Embeddings in the gallery's views.
        scores: Who is likely; -inf: nobody to compare with.
        gallery: Photos of the individuals; no query is among them.
        by: The judge: 0 to 1.
        shortlist: So many of the likeliest; None: all.
    """
    names = top(scores, k=shortlist or scores.shape[1])[0]
    best = gallery.judged(query, None, names, by=by)
    judged = np.zeros(scores.shape, np.float32)
    at, place = np.nonzero(best > -np.inf)
    judged[at, names[at, place]] = best[at, place]
    return judged


def mix_scores(
    scores: Float32[np.ndarray, "query identity"], judged: Float32[np.ndarray, "query identity"], *, weight: float
) -> Float32[np.ndarray, "query identity"]:
    """The weighted mean of both; who had no score (-inf) still has none.

    Who is off the shortlist had a lower score and is judged 0: he cannot overtake anybody on it.
    """
    there = scores > -np.inf
    mixed = np.full(scores.shape, -np.inf, np.float32)
    mixed[there] = (1 - weight) * scores[there] + weight * judged[there]
    return mixed
