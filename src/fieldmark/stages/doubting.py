"""The doubtful labels of a run's own table, by networks that have not seen the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fieldmark.core.errors import PlanError, nearest
from fieldmark.data.collection import Collection
from fieldmark.stages.engine import Opened
from fieldmark.stages.plan import SCORING
from fieldmark.stages.score import Score
from fieldmark.stages.scored import known_proba


@dataclass(frozen=True)
class Doubt:
    """One cell of the table, a photo and a label, that is perhaps a mistake.

    Attributes:
        image: The photo's id.
        label: The label.
        kind: ``missing``: the table lacks it and it is perhaps there; ``wrong``: the table has it, perhaps wrongly.
        proba: What the networks give the label, 0 to 1.
        doubt: How likely the table is wrong there, 0 to 1.
    """

    image: str
    label: str
    kind: Literal["missing", "wrong"]
    proba: float
    doubt: float


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
    from fieldmark.clean.doubts import doubtful

    name = scoring(opened, stage or opened.plan.only(Score).name)
    known = opened.known
    images = known.images
    found = doubtful(
        known_proba(opened.job(), name), known.truth > 0, known.vocabulary.tags, most=most, groups=known.groups
    )
    cells = found.select("row", "label", "kind", "proba", "doubt").iter_rows()
    return [Doubt(images[row], label, kind, proba, doubt) for row, label, kind, proba, doubt in cells]


def write_doubts(path: Path, found: Sequence[Doubt], known: Collection) -> None:
    """Write doubts as a CSV with an empty column ``decision``; filled in, it is a patch.

    Args:
        path: The file.
        found: Doubts about photos of ``known``.
        known: Of the run.
    """
    import polars as pl

    from fieldmark.clean.patches import export_doubts

    row_of = {image: row for row, image in enumerate(known.images)}
    cells = [(row_of[one.image], one.label, one.kind, one.kind == "wrong", one.proba, one.doubt) for one in found]
    schema = {
        "row": pl.Int64,
        "label": pl.String,
        "kind": pl.String,
        "given": pl.Boolean,
        "proba": pl.Float64,
        "doubt": pl.Float64,
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
