"""Label issues: labels of a run's table that are probably wrong or missing, by out-of-fold scores."""

from __future__ import annotations

from fieldmark.core.errors import PlanError, nearest
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.stages.labels.score import Score
from fieldmark.tasks.issues import LabelIssue


def label_issues(context: Context, *, stage: str | None = None, most: int = 200) -> list[LabelIssue]:
    """Return the cells of a run's table that are most probably wrong, most probable first.

    Args:
        context: The run. Its stages up to the scores must be finished.
        stage: Name of the stage whose out-of-fold scores are used. None for the last ``score`` stage: boosted trees
            have no individual probabilities for improbable labels.
        most: Maximum number of issues.

    Raises:
        PlanError: The run has no stage of that name with label scores.
        RunError: The stage is not finished.
    """
    from fieldmark.quality.labels.issues import likely_label_errors

    name = scoring(context, stage or context.plan.only(Score).name)
    known = context.known
    images = known.images
    proba = context.artifact(LabelScores, name).known(known)
    found = likely_label_errors(proba, known.truth > 0, known.vocabulary.tags, most=most, groups=known.groups)
    cells = found.select("row", "label", "kind", "proba", "label_error_proba").iter_rows()
    return [
        LabelIssue(images[row], label, kind, proba, label_error_proba)
        for row, label, kind, proba, label_error_proba in cells
    ]


def scoring(context: Context, name: str) -> str:
    """Check that a stage of a run writes label scores, and return its name.

    Raises:
        PlanError: No stage of that name writes label scores.
    """
    names = [stage.name for stage in context.plan.leaving(LabelScores)]
    if name not in names:
        raise PlanError("The run has no stage of that name with label scores.", got=name, fix=nearest(name, names))
    return name
