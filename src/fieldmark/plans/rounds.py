"""Train, rank, and train again with pseudo-labels: the middle of every recipe that learns individuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import PerGroup, UnknownAt
from fieldmark.losses.specs import Distilled
from fieldmark.pipeline.plan import Stage
from fieldmark.plans.deciding import SimilaritySettings, neighbourhood, similarity
from fieldmark.plans.finders import subject
from fieldmark.plans.keypoints import KeypointSettings, rechecked
from fieldmark.plans.settings import Settings, setting
from fieldmark.quality.specs import Agreement, ConfidentIdentity, FewShot, IdentityPseudoLabelRule, IdentityRule
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.pseudo_label_identities import PseudoLabelIdentities
from fieldmark.stages.identity.rank import ByLogits, Rank, Vote
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints

WITH_ROUNDS = {"rounds": (1, ...)}
SURE_AT = {"sure": 0.8, "few_shot": 0.65}


class PseudoLabelSettings(Settings):
    """Settings about pseudo-labels for individuals."""

    rounds: int = setting(
        "training",
        0,
        "Train again so many times, each time with new photos (--new) whose individual is sure as pseudo-labels.",
        ge=0,
        le=20,
        example=1,
    )
    pseudo_label_rule: Literal["sure", "few_shot", "agreement"] = setting(
        "training",
        "sure",
        "New photos that join: those with a high score; of these only individuals with few photos; or those that "
        "similarity, head and keypoints give the same name.",
        needs=WITH_ROUNDS,
    )
    pseudo_label_at: float | None = setting(
        "training",
        None,
        "Lowest score of a pseudo-label.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("sure", "few_shot")},
        unset="0.8, or 0.65 (few_shot)",
        example=0.9,
    )
    pseudo_label_photos: int = setting(
        "training",
        1,
        "Known photos that an individual may have at most.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("few_shot",)},
        ge=1,
    )
    pseudo_label_gap: float = setting(
        "training",
        0.2,
        "Lowest lead of the first name over the second, in mean score.",
        needs=WITH_ROUNDS | {"pseudo_label_rule": ("agreement",)},
        ge=0,
    )
    pseudo_label_cap: int | None = setting(
        "training",
        None,
        "Pseudo-labels an individual may get at most.",
        needs=WITH_ROUNDS,
        ge=1,
        unset="none",
        example=5,
    )


class RankingSettings(PseudoLabelSettings, SimilaritySettings, KeypointSettings):
    """Settings that rank by a trained network: similarity, its own probabilities, keypoints, pseudo-labels."""

    tta: bool = setting("ranking", True, "Average predictions for each photo and its mirror image.")
    logits: Literal["proba", "logit"] = setting(
        "ranking",
        "proba",
        "Form of the head's output in the ranking: its probability, or its logit on the scale of cosines.",
        needs={"logits_weight": (0.5, ...)},
    )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How a recipe trains and ranks.

    Attributes:
        settings: Of the recipe.
        train: The train stage of the first round.
        logits_weight: Weight of the head's output in the ranking, where similarity weighs 1; 0: none.
        logits_first: Whether the head's vote stands first.
        unknown: Rule for the threshold.
        per_group: Groups of photos with thresholds of their own.
        distil: Train once more at least, with the last network's predictions as targets of unknown individuals.
    """

    settings: RankingSettings
    train: Train
    logits_weight: float
    logits_first: bool = False
    unknown: UnknownAt
    per_group: PerGroup | None = None
    distil: bool = False

    def stages(self) -> tuple[list[Stage], str, str]:
        """All stages, and the names of the last ranking stage and of its embed stage."""
        stages: list[Stage] = []
        best, embedded, teacher = "", "", ""
        judges: tuple[str, ...] = ()
        rounds = self.settings.rounds
        last = max(rounds, int(self.distil))
        for turn in range(last + 1):
            again = "" if not turn else str(turn + 1)
            pseudo = f"recruits{again}" if 0 < turn <= rounds else None
            if pseudo is not None:
                stages.append(
                    PseudoLabelIdentities(
                        name=pseudo, judges=judges, on="split", rule=identity_pseudo_labels(self.settings)
                    )
                )
            train = self._train(f"net{again}", pseudo, teacher)
            teacher, best, embedded = train.name, f"ranking{again}", f"features{again}"
            stages += [train, Embed(name=embedded, of=train.name, on="split", flip=self.settings.tta)]
            stages.append(self._rank(best, embedded, self._votes()))
            # Whoever gets a pseudo-label is compared by keypoints first.
            looked = self._rechecked(f"evidence{again}", best, embedded) if turn < rounds or turn == last else None
            if looked is not None:
                stages.append(looked)
                best = looked.name
            judges = (best,)
            if turn < rounds and self.settings.pseudo_label_rule == "agreement":
                apart = self._apart(again, embedded)
                stages += apart
                judges = (*(one.name for one in apart), *(() if looked is None else judges))
        return stages, best, embedded

    def _train(self, name: str, pseudo: str | None, teacher: str) -> Train:
        changes: dict[str, object] = {"name": name, "enlarged": pseudo}
        if teacher and self.distil:
            changes |= {"taught": (teacher,), "losses": (*self.train.losses, Distilled())}
        return self.train.model_copy(update=changes)

    def _rechecked(self, name: str, ranking: str, embedded: str) -> RerankKeypoints | None:
        return rechecked(
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
        if not self.logits_weight:
            return (photos,)
        head = Vote(by=self._head(), weight=self.logits_weight)
        return (head, photos) if self.logits_first else (photos, head)

    def _head(self) -> ByLogits:
        if self.settings.logits == "proba":
            return ByLogits()
        return ByLogits(form="logit", scale=getattr(self.train.net.head, "scale", 1.0))

    def _apart(self, again: str, embedded: str) -> list[Rank]:
        """Rankings by similarity alone and by the head alone, which must agree."""
        if not self.logits_weight:
            raise PlanError(
                "Agreement needs the head's ranking beside the one by similarity.",
                got="pseudo_label_rule=agreement, logits_weight=0",
                fix="leave out logits_weight.",
            )
        return [
            self._rank(f"similarity{again}", embedded, (Vote(by=similarity(self.settings)),)),
            self._rank(f"head{again}", embedded, (Vote(by=self._head()),)),
        ]


def identity_pseudo_labels(settings: PseudoLabelSettings) -> IdentityPseudoLabelRule:
    """Which new photos join, and with which limits."""
    rules: dict[str, IdentityRule] = {
        "sure": ConfidentIdentity(at=_at(settings)),
        "few_shot": FewShot(at=_at(settings), most_photos=settings.pseudo_label_photos),
        "agreement": Agreement(gap=settings.pseudo_label_gap),
    }
    return IdentityPseudoLabelRule(rule=rules[settings.pseudo_label_rule], most_per_identity=settings.pseudo_label_cap)


def _at(settings: PseudoLabelSettings) -> float:
    return (
        SURE_AT.get(settings.pseudo_label_rule, 0.0) if settings.pseudo_label_at is None else settings.pseudo_label_at
    )
