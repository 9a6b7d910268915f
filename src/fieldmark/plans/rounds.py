"""Stages that train, rank, and train again with pseudo-labels; shared by recipes that identify individuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import PerGroup, UnknownAt
from fieldmark.losses.specs import Distilled
from fieldmark.pipeline.plan import Stage
from fieldmark.plans.deciding import SimilaritySettings, neighbourhood, similarity
from fieldmark.plans.finders import subject
from fieldmark.plans.keypoints import KeypointSettings, keypoint_reranking
from fieldmark.plans.settings import Settings, setting
from fieldmark.quality.specs import Agreement, ConfidentIdentity, FewShot, IdentityPseudoLabelRule, IdentityRule
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.pseudo_label_identities import PseudoLabelIdentities
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints

WITH_ROUNDS = {"pseudo_label_rounds": (1, ...)}
MIN_SCORE = {"confident": 0.8, "few_shot": 0.65}
"""Default of ``pseudo_label_min_score`` for each rule."""


class PseudoLabelSettings(Settings):
    """Settings for pseudo-labels of individuals."""

    pseudo_label_rounds: int = setting(
        "training",
        0,
        "Number of additional trainings. Each one adds the new photos (--new) that are identified with confidence as "
        "pseudo-labels.",
        ge=0,
        le=20,
        example=1,
    )
    pseudo_label_rule: Literal["confident", "few_shot", "agreement"] = setting(
        "training",
        "confident",
        "Rule for the new photos that are added. confident: photos whose best score is high. few_shot: the same, only "
        "for individuals with few known photos. agreement: photos for which similarity, head and keypoints rank the "
        "same individual first.",
        needs=WITH_ROUNDS,
    )
    pseudo_label_min_score: float | None = setting(
        "training",
        None,
        "Minimum best score of a photo that is added.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("confident", "few_shot")},
        unset="0.8, or 0.65 (few_shot)",
        example=0.9,
    )
    pseudo_label_max_photos: int = setting(
        "training",
        1,
        "Maximum number of known photos of an individual that gets pseudo-labels.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("few_shot",)},
        ge=1,
    )
    pseudo_label_min_gap: float = setting(
        "training",
        0.2,
        "Minimum difference between the mean scores of the first and the second individual.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("agreement",)},
        ge=0,
    )
    pseudo_label_cap: int | None = setting(
        "training",
        None,
        "Maximum number of pseudo-labels per individual.",
        needs=WITH_ROUNDS,
        ge=1,
        unset="none",
        example=5,
    )


class RankingSettings(PseudoLabelSettings, SimilaritySettings, KeypointSettings):
    """Settings of recipes that rank by a trained network: similarity, head output, keypoints and pseudo-labels."""

    tta: bool = setting(
        "ranking", True, "Test-time augmentation (TTA): average the predictions for a photo and its horizontal flip."
    )
    head_output: Literal["proba", "logit"] = setting(
        "ranking",
        "proba",
        "Output of the classification head used in the ranking. proba: its probability. logit: its logit, divided by "
        "the scale of the head.",
        needs={"head_weight": (0.5, ...)},
    )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Trainings and rankings of a recipe, repeated for each round of pseudo-labels.

    Attributes:
        settings: The settings of the recipe.
        train: The train stage of the first round.
        head_weight: Weight of the head's output in the ranking, where similarity has weight 1; 0: not used.
        head_first: Whether the vote of the head is listed before the vote of the similarity.
        unknown: Rule for the threshold of unknown individuals.
        per_group: Groups of photos with separate thresholds.
        distil: Whether to train at least once more, with the last network's predictions as targets of unknown
            individuals.
    """

    settings: RankingSettings
    train: Train
    head_weight: float
    head_first: bool = False
    unknown: UnknownAt
    per_group: PerGroup | None = None
    distil: bool = False

    def stages(self) -> tuple[list[Stage], str, str]:
        """Return all stages, the name of the last ranking stage, and the name of its embed stage."""
        stages: list[Stage] = []
        best, embedded, teacher = "", "", ""
        scorers: tuple[str, ...] = ()
        rounds = self.settings.pseudo_label_rounds
        last = max(rounds, int(self.distil))
        for turn in range(last + 1):
            again = "" if not turn else str(turn + 1)
            pseudo = f"pseudo_labels{again}" if 0 < turn <= rounds else None
            if pseudo is not None:
                stages.append(
                    PseudoLabelIdentities(
                        name=pseudo, judges=scorers, on="split", rule=identity_pseudo_labels(self.settings)
                    )
                )
            train = self._train(f"net{again}", pseudo, teacher)
            teacher, best, embedded = train.name, f"ranking{again}", f"features{again}"
            stages += [train, Embed(name=embedded, of=train.name, on="split", flip=self.settings.tta)]
            stages.append(self._rank(best, embedded, self._votes()))
            # Keypoints are matched before each round of pseudo-labels, and at the end.
            matching = self._matching(f"matching{again}", best, embedded) if turn < rounds or turn == last else None
            if matching is not None:
                stages.append(matching)
                best = matching.name
            scorers = (best,)
            if turn < rounds and self.settings.pseudo_label_rule == "agreement":
                separate = self._separate_rankings(again, embedded)
                stages += separate
                scorers = (*(one.name for one in separate), *(() if matching is None else scorers))
        return stages, best, embedded

    def _train(self, name: str, pseudo: str | None, teacher: str) -> Train:
        changes: dict[str, object] = {"name": name, "enlarged": pseudo}
        if teacher and self.distil:
            changes |= {"taught": (teacher,), "losses": (*self.train.losses, Distilled())}
        return self.train.model_copy(update=changes)

    def _matching(self, name: str, ranking: str, embedded: str) -> RerankKeypoints | None:
        return keypoint_reranking(
            self.settings,
            name=name,
            ranking=ranking,
            embedded=embedded,
            within=subject(self.train),
            unknown=self.unknown,
            per_group=self.per_group,
        )

    def _rank(self, name: str, embedded: str, votes: tuple[Vote, ...]) -> Rank:
        return Rank(
            name=name,
            reads_from=embedded,
            on="split",
            votes=votes,
            unknown=self.unknown,
            reciprocal=neighbourhood(self.settings),
            per_group=self.per_group,
        )

    def _votes(self) -> tuple[Vote, ...]:
        photos = Vote(by=similarity(self.settings))
        if not self.head_weight:
            return (photos,)
        head = Vote(by=self._head(), weight=self.head_weight)
        return (head, photos) if self.head_first else (photos, head)

    def _head(self) -> ByLogits:
        if self.settings.head_output == "proba":
            return ByLogits()
        return ByLogits(form="logit", scale=getattr(self.train.net.head, "scale", 1.0))

    def _separate_rankings(self, again: str, embedded: str) -> list[Rank]:
        """Return one ranking by similarity only and one by the head only, for the rule ``agreement``."""
        if not self.head_weight:
            raise PlanError(
                "The rule 'agreement' compares two rankings, but head_weight=0 removes the ranking of the head.",
                got="pseudo_label_rule=agreement, head_weight=0",
                fix="leave out head_weight.",
            )
        return [
            self._rank(f"similarity{again}", embedded, (Vote(by=similarity(self.settings)),)),
            self._rank(f"head{again}", embedded, (Vote(by=self._head()),)),
        ]


def identity_pseudo_labels(settings: PseudoLabelSettings) -> IdentityPseudoLabelRule:
    """Return the rule for the new photos that are added, and its limits."""
    rules: dict[str, IdentityRule] = {
        "confident": ConfidentIdentity(at=_min_score(settings)),
        "few_shot": FewShot(at=_min_score(settings), most_photos=settings.pseudo_label_max_photos),
        "agreement": Agreement(gap=settings.pseudo_label_min_gap),
    }
    return IdentityPseudoLabelRule(rule=rules[settings.pseudo_label_rule], most_per_identity=settings.pseudo_label_cap)


def _min_score(settings: PseudoLabelSettings) -> float:
    if settings.pseudo_label_min_score is not None:
        return settings.pseudo_label_min_score
    return MIN_SCORE.get(settings.pseudo_label_rule, 0.0)
