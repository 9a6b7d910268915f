"""The page and the numbers of a run that identifies: who is taken for whom, and how surely."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from fieldmark.core.files import read_json
from fieldmark.data.vocabulary import UNLABELLED, Vocabulary
from fieldmark.decisions.calibrated import Sure
from fieldmark.decisions.specs import MaxMap
from fieldmark.decisions.thresholds import curve
from fieldmark.gallery.store import GalleryStore
from fieldmark.quality.inspecting import names_told
from fieldmark.reporting.contents import (
    Candidate,
    ConfusedPair,
    Curve,
    Example,
    Fact,
    NameDoubt,
    RunPage,
    ThresholdScan,
)
from fieldmark.reporting.pages import run_page
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted
from fieldmark.stages.common.split import FOLDS, judged_classes
from fieldmark.stages.common.train import Train
from fieldmark.stages.engine import Opened
from fieldmark.stages.identity.rank import Rank
from fieldmark.stages.identity.ranking import RANKING, SCORES, Decision, names_of
from fieldmark.stages.identity.stack_identities import StackIdentities
from fieldmark.stages.identity.think_again import ThinkAgain
from fieldmark.stages.plan import ranking_stage
from fieldmark.tasks.identification.match_pictures import MatchPictures
from fieldmark.tasks.identification.measures import Measure, measure, measure_decision
from fieldmark.tasks.issues import judged_names
from fieldmark.tasks.page_ends import page_end, score_rows

N_EXAMPLES, N_DOUBTS = 12, 8
LEAST_DOUBT = 0.5
"""From this probability on a name is told as doubtful."""


def identity_report(opened: Opened) -> tuple[tuple[Measure, ...], str]:
    """The measures of a finished run that identifies, and its page as HTML.

    Raises:
        RunError: The run is not finished.
    """
    judged = Judged(opened)
    measures, expected = judged.seen(), judged.expected()
    return measures + expected, run_page(_page(opened, judged, measures, expected))


class Judged:
    """The validation photos of a finished run that have a name or show a stranger, with scores, truth and ranking."""

    def __init__(self, opened: Opened) -> None:
        run, plan = opened.run, opened.plan
        self.final = ranking_stage(plan)
        self.rank = next(one for one in reversed(plan.stages) if isinstance(one, Rank | StackIdentities))
        place = run.stage(self.final.name)
        self.lines = MatchPictures(opened)
        self.known = opened.known
        self.fold = np.load(run.stage(self.rank.on) / FOLDS, allow_pickle=False)
        rows = np.flatnonzero(self.fold >= 0)
        truth = judged_classes(opened.job(), self.rank.on)[rows]
        told = truth > UNLABELLED
        self.rows, self.truth = rows[told], truth[told]
        self.scores: np.ndarray = np.load(place / SCORES, allow_pickle=False)[told]
        self.decision = Decision.read(place)
        self.unknown_at = self.decision.threshold.at
        self.at = self.decision.at(self.known.take(self.rows))
        self.ranking = pl.read_parquet(place / RANKING).filter(pl.col("part") == "validation")
        self.embedded = run.stage(self.rank.reads_from)
        self.answers: dict[str, list[tuple[str, float]]] = {
            image: list(zip(identity, score, strict=True))
            for image, identity, score in self.ranking.sort("place")
            .group_by("image", maintain_order=True)
            .agg("identity", "score")
            .iter_rows()
        }

    def measures(self) -> tuple[Measure, ...]:
        """How good the ranking is, and what to expect of the decision with other photos."""
        return self.seen() + self.expected()

    def seen(self) -> tuple[Measure, ...]:
        """How good the ranking is on the photos that the threshold was found on."""
        groups = self.known.take(self.rows).groups
        return measure(self.scores, self.truth, unknown_at=self.at, k=self.final.k, groups=groups)

    def expected(self) -> tuple[Measure, ...]:
        """What to expect of the decision with other photos; nothing where the last stage does not decide anew."""
        return self.measured_decision() if self.decides else ()

    @property
    def decides(self) -> bool:
        """Whether the last ranking stage finds a threshold; second thoughts take over that of the stage they read."""
        return not isinstance(self.final, ThinkAgain)

    def measured_decision(self) -> tuple[Measure, ...]:
        """What to expect of the decision with other photos."""
        per_group, judges = getattr(self.final, "per_group", None), self.known.take(self.rows)
        return measure_decision(
            self.scores,
            self.truth,
            unknown=MaxMap() if isinstance(self.final, ThinkAgain) else self.final.unknown,
            sure=self._sure(judges.images),
            groups=judges.groups,
            names=None if per_group is None else names_of(judges, per_group.column),
            per_group=per_group,
            k=self.final.k,
        )

    def _sure(self, images: list[str]) -> Sure | None:
        """How sure the answers were, by curves that have not seen them; None where the ranking does not tell."""
        if not {"known_proba", "right_proba"} <= set(self.ranking.columns):
            return None
        firsts = pl.DataFrame({"image": images}).join(
            self.ranking.filter(pl.col("place") == 1), on="image", how="left", maintain_order="left"
        )
        known, right = (
            firsts[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("known_proba", "right_proba")
        )
        return Sure(known=known, right=right)

    @cached_property
    def galleries(self) -> list[GalleryStore]:
        """For each fold, the photos its network was trained on."""
        stores = []
        for k in range(int(self.fold.max()) + 1):
            judges = [self.known.images[row] for row in np.flatnonzero(self.fold == k)]
            stores.append(GalleryStore.open(self.embedded / f"gallery{k}").without(judges))
        return stores

    def name(self, truth: int) -> str:
        """The name of a class."""
        return named(truth, self.known.vocabulary)


def named(truth: int, vocabulary: Vocabulary) -> str:
    """The name of a class; the word for "nobody we know" for -1."""
    return vocabulary.identities[truth] if truth >= 0 else vocabulary.unknown


def _page(opened: Opened, judged: Judged, measures: tuple[Measure, ...], expected: tuple[Measure, ...]) -> RunPage:
    best, worst = _examples(judged)
    doubts, note = _doubts(opened, judged)
    return RunPage(
        title=f"{opened.plan.name} on {opened.known.name}",
        recipe=opened.plan.name,
        summary=_summary(judged, measures),
        scores=score_rows(measures),
        scores_note=(
            f"Measured on {len(judged.rows):,} validation photos that the network has not seen; "
            f"95 % intervals over {measures[0].over}. The threshold was chosen on the same photos."
        ),
        curves=_curves(opened),
        threshold=_scan(judged),
        expected=score_rows(expected),
        best=best,
        worst=worst,
        confusions=_confusions(judged),
        doubts=doubts,
        doubts_note=note,
        facts=_facts(opened, judged),
        **page_end(opened),
    )


def _summary(judged: Judged, measures: tuple[Measure, ...]) -> str:
    value = {one.name: one.value for one in measures}
    n_known = int((judged.truth >= 0).sum())
    n_new = len(judged.truth) - n_known
    parts = []
    if n_known:
        parts.append(
            f"Of {n_known:,} validation photos of known individuals the right name came first for "
            f"{value['top-1 of known']:.0%} and among the first {judged.final.k} for "
            f"{value[f'top-{judged.final.k} of known']:.0%}."
        )
    if n_new:
        called_new = round((1 - value["false matches"]) * n_new)
        rest = "" if called_new == n_new else "; the rest were given somebody's name"
        parts.append(f"Of {n_new:,} photos of strangers {called_new:,} were called new{rest}.")
    return " ".join(parts)


def _curves(opened: Opened) -> tuple[Curve, ...]:
    """Loss, metric and learning rate of each network over the epochs; of several networks, only what compares them."""
    names = [stage.name for stage in opened.plan.stages if isinstance(stage, Train)]
    folds = [(name, path) for name in names for path in sorted(opened.run.stage(name).glob("fold*/history.json"))]
    curves = []
    for stage, path in folds:
        history: list[dict[str, Any]] = read_json(path)
        told = [stage] * (len(names) > 1) + [path.parent.name] * (len(folds) > len(names))
        for name in history[0] if history else {}:
            kind = "lr" if name == "lr" else "metric" if "map5" in name else "loss"
            compares = name in {"loss", "lr"} or name.startswith("validation")
            if name in {"leg", "epoch", "update", "images_per_s"} or not (compares or len(names) == 1):
                continue
            rows = [row for row in history if name in row]
            at, value = (np.array([float(row[column]) for row in rows]) for column in ("epoch", name))
            label = name if len(names) == 1 else name.split(" ")[0]
            curves.append(Curve(", ".join([*told, label]), kind, at, value))
    return tuple(curves)


def _scan(judged: Judged, *, n_points: int = 120) -> ThresholdScan:
    best = judged.scores.max(axis=1)
    some = best[np.isfinite(best)]  # a photo without any candidate is new at every threshold
    at = np.unique(np.append(np.quantile(some, np.linspace(0, 1, n_points)) if len(some) else [], judged.unknown_at))
    found = curve(judged.scores, judged.truth, at, k=judged.final.k)
    return ThresholdScan(
        at=found.at,
        score=found.map_at_k,
        chosen_at=judged.unknown_at,
        share_new=found.share_unknown,
        false_match_rate=found.false_match_rate if (judged.truth == -1).any() else None,
        score_name=f"MAP@{judged.final.k}",
    )


def _examples(judged: Judged) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The surest right answers and the surest wrong ones: each query beside its candidates."""
    sure: list[tuple[float, int, bool]] = []
    for number, row in enumerate(judged.rows):
        answer = judged.answers[judged.known.images[row]]
        margin = answer[0][1] - (answer[1][1] if len(answer) > 1 else 0.0)
        sure.append((margin, number, answer[0][0] == judged.name(int(judged.truth[number]))))
    sure.sort(reverse=True)
    right = [number for _, number, is_right in sure if is_right and judged.truth[number] >= 0][:N_EXAMPLES]
    wrong = [number for _, number, is_right in sure if not is_right][:N_EXAMPLES]
    return tuple(_example(judged, n) for n in right), tuple(_example(judged, n) for n in wrong)


def _example(judged: Judged, number: int) -> Example:
    known, row = judged.known, int(judged.rows[number])
    k, image, truth = int(judged.fold[row]), known.images[int(row)], judged.name(int(judged.truth[number]))
    column = {name: place for place, name in enumerate(known.vocabulary.identities)}
    answer = judged.answers[image]
    classes = [column[name] for name, _ in answer if name in column]
    gallery = judged.galleries[k]
    place = int(np.searchsorted(np.flatnonzero(judged.fold == k), row))
    query = np.load(judged.embedded / f"validation{k}.npy", mmap_mode="r", allow_pickle=False)[:, [place]]
    photos = (
        dict(zip(classes, gallery.best_photos(query, [image], np.array([classes]))[0][0].tolist(), strict=True))
        if classes
        else {}
    )
    row_of = {image: row for row, image in enumerate(known.images)}
    return Example(
        image=image,
        truth=truth,
        picture=picture(known, row),
        lines=judged.lines.of(image, answer[0][0]),
        candidates=tuple(
            Candidate(
                name=name,
                score=score,
                is_truth=name == truth,
                is_unknown=name not in column,
                picture=picture(known, row_of[gallery.images[photos[column[name]]]]) if name in column else None,
            )
            for name, score in answer
        ),
    )


def _confusions(judged: Judged, *, most: int = 8) -> tuple[ConfusedPair, ...]:
    """Which known individuals were taken for which others, the commonest first."""
    first = {image: answer[0][0] for image, answer in judged.answers.items()}
    pairs = Counter(
        (judged.name(int(truth)), first[judged.known.images[row]])
        for row, truth in zip(judged.rows, judged.truth, strict=True)
        if truth >= 0 and first[judged.known.images[row]] in set(judged.known.vocabulary.identities)
    )
    wrong = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:most]
    row_of: dict[str, int] = {}
    for row, number in enumerate(judged.known.classes.tolist()):
        row_of.setdefault(judged.name(number), row)

    def shown(name: str) -> bytes | None:
        return picture(judged.known, row_of[name])

    return tuple(ConfusedPair(truth, answer, count, shown(truth), shown(answer)) for (truth, answer), count in wrong)


def _doubts(opened: Opened, judged: Judged) -> tuple[tuple[NameDoubt, ...], str]:
    """Validation photos that probably show somebody else than the table says, by points, and a sentence about them."""
    found = [one for one in judged_names(opened) if one.proba >= LEAST_DOUBT]
    given = dict(zip(judged.known.images, names_told(judged.known), strict=True))
    n_strangers = sum(one.kind == "stranger" for one in found)
    note = (
        f"{counted(len(found), 'validation photo')} agree point by point with photos of another name, "
        f"{n_strangers:,} of them strangers in the table: where that is right, the table is wrong, and so are the "
        "measures above that count them as mistakes. The command “fieldmark doubts” lists more, for a patch."
    )
    rows = tuple(
        NameDoubt(one.image, given[one.image], one.label, one.beside, one.proba, judged.lines.of(one.image, one.label))
        for one in found[:N_DOUBTS]
    )
    return rows, note


def _facts(opened: Opened, judged: Judged) -> tuple[Fact, ...]:
    classes = opened.known.classes
    counts = np.bincount(classes[classes >= 0], minlength=1)
    return (
        Fact("photos", f"{len(classes):,}", f"{int((classes == -1).sum()):,} of individuals without a name"),
        Fact(
            "individuals",
            f"{int((counts > 0).sum()):,}",
            f"{int((counts == 1).sum()):,} with a single photo; most {counts.max():,}",
        ),
        Fact("validation", f"{len(judged.rows):,}", "photos kept from the network"),
        Fact("new photos answered", f"{len(opened.new) if opened.new else 0:,}", ""),
    )
