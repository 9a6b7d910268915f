"""The doubtful labels and names of a run's own table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import polars as pl

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.stages.engine import Opened
from fieldmark.stages.local_evidence import Rechecked
from fieldmark.stages.plan import SCORING, answering_stage
from fieldmark.stages.ranked import SCORES
from fieldmark.stages.recheck import Recheck, agreeing, counted, judged_counts
from fieldmark.stages.score import Score
from fieldmark.stages.scored import known_proba
from fieldmark.stages.split import read_folds


@dataclass(frozen=True)
class Doubt:
    """One cell of the table, a photo and a label or an individual's name, that is perhaps a mistake.

    Attributes:
        image: The photo's id.
        label: The label or the name.
        kind: ``missing``: the table lacks it and it is perhaps there; ``wrong``: the table has it, perhaps wrongly;
            ``stranger``: the photo has no name, and perhaps it is this one; ``two names``: it has another.
        proba: What the networks (of names: networks and points) give the label, 0 to 1.
        doubt: How likely the table is wrong there, 0 to 1.
        beside: Of names, the id of the known photo that it agrees with.
    """

    image: str
    label: str
    kind: Literal["missing", "wrong", "stranger", "two names"]
    proba: float
    doubt: float
    beside: str = ""


def doubtful_cells(opened: Opened, *, stage: str | None = None, most: int = 200) -> list[Doubt]:
    """The cells of a run's table that are likeliest wrong, the most doubtful first.

    Args:
        opened: The run; its stages up to the scores must be finished.
        stage: Whose out-of-fold scores to go by; None for the last score stage (boosted trees give unlikely cells no
            probability of their own).
        most: How many.

    Raises:
        PlanError: The run has no such stage with scores.
        RunError: The stage is not finished.
    """
    from fieldmark.quality.doubts import doubtful

    name = scoring(opened, stage or opened.plan.only(Score).name)
    known = opened.known
    images = known.images
    found = doubtful(
        known_proba(opened.job(), name), known.truth > 0, known.vocabulary.tags, most=most, groups=known.groups
    )
    cells = found.select("row", "label", "kind", "proba", "doubt").iter_rows()
    return [Doubt(images[row], label, kind, proba, doubt) for row, label, kind, proba, doubt in cells]


def doubtful_names(
    opened: Opened,
    *,
    most: int = 200,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> list[Doubt]:
    """The photos of a run's table that perhaps show an individual of another name there, the likeliest first.

    Photos that judged the run are told by networks that have not seen them, and by weights learnt from others. Of
    those that taught, strangers are compared here: their networks may have learnt that they are nobody, so what
    speaks for a name is mainly points, which learn nothing. Photos with a name that taught are not doubted.

    Args:
        opened: A finished run whose last ranking matches points.
        most: How many.
        device: Where to compute.
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.

    Raises:
        PlanError: The run matches no points.
        RunError: A stage is not finished.
    """
    from fieldmark.stages.expert import Expert

    final = _pointing(opened)
    if final is None:
        raise PlanError(
            "Names are doubted by points, which this run does not match.",
            got=f"{opened.run.path}: no recheck stage ranks last",
            fix="train with --set keypoints=xfeat (--reuse this run), or blend runs with --run and --points.",
        )
    found, known = judged_names(opened), opened.known
    fold = read_folds(opened.job(), final.on)
    others = np.flatnonzero((fold < 0) & (known.classes == UNKNOWN) & known.present)
    if len(others):
        expert = Expert(opened, device=device)
        strangers = known.take(others)
        scores, points = expert.side_by_side(strangers, n_workers=n_workers, progress=progress)
        table = counted("known", strangers, cast("Rechecked", points), known)
        found += _named_otherwise(known, others, scores, agreeing(table))
    return sorted(found, key=lambda one: -one.doubt)[:most]


def judged_names(opened: Opened) -> list[Doubt]:
    """The doubts about photos that judged a run, the likeliest first; none where it matches no points.

    Raises:
        RunError: A stage is not finished.
    """
    final = _pointing(opened)
    if final is None:
        return []
    place = opened.run.stage(final.name)
    judges = np.flatnonzero(read_folds(opened.job(), final.on) >= 0)
    scores = np.load(place / SCORES, allow_pickle=False)
    found = _named_otherwise(opened.known, judges, scores, agreeing(judged_counts(place)))
    return sorted(found, key=lambda one: -one.doubt)


def _pointing(opened: Opened) -> Recheck | None:
    """The stage whose points have the last word on single photos."""
    final = answering_stage(opened.plan)
    return final if isinstance(final, Recheck) else None


def _named_otherwise(
    known: Collection, rows: np.ndarray, scores: np.ndarray, beside: Mapping[tuple[str, str], str]
) -> list[Doubt]:
    """For each photo the likeliest name that it does not have and that some point speaks for."""
    images, names = known.images, known.vocabulary.identities
    column = {name: number for number, name in enumerate(names)}
    rivals: dict[str, list[str]] = {}
    for image, name in beside:
        rivals.setdefault(image, []).append(name)
    found = []
    for row, score in zip(rows.tolist(), scores, strict=True):
        given = known.classes[row]
        others = [name for name in rivals.get(images[row], []) if column[name] != given]
        if not others:
            continue
        name = max(others, key=lambda one: score[column[one]])
        proba = float(score[column[name]])
        kind = "two names" if given >= 0 else "stranger"
        found.append(Doubt(images[row], name, kind, proba, proba, beside[images[row], name]))
    return found


def write_doubts(path: Path, found: Sequence[Doubt], known: Collection) -> None:
    """Write doubts as a CSV with an empty column ``decision``; filled in, it is a patch.

    Args:
        path: The file.
        found: Doubts about photos of ``known``.
        known: Of the run.
    """
    from fieldmark.quality.patches import export_doubts

    row_of = {image: row for row, image in enumerate(known.images)}
    cells = [
        (row_of[one.image], one.label, one.kind, one.kind == "wrong", one.proba, one.doubt, one.beside) for one in found
    ]
    schema = {
        "row": pl.Int64,
        "label": pl.String,
        "kind": pl.String,
        "given": pl.Boolean,
        "proba": pl.Float64,
        "doubt": pl.Float64,
        "beside": pl.String,
    }
    export_doubts(path, pl.DataFrame(cells, schema=schema, orient="row"), known)


def scoring(opened: Opened, name: str) -> str:
    """The name of a stage of a run that leaves scores of labels.

    Raises:
        PlanError: There is none of that name.
    """
    names = [stage.name for stage in opened.plan.stages if isinstance(stage, SCORING)]
    if name not in names:
        raise PlanError("The run has no stage of that name that scores labels.", got=name, fix=nearest(name, names))
    return name
