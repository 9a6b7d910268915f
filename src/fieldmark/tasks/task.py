"""The three tasks, and the choice of the task of a plan."""

from __future__ import annotations

from fieldmark.core.errors import PlanError
from fieldmark.pipeline.plan import Plan
from fieldmark.tasks.attributes.task import Attributes
from fieldmark.tasks.base import Form, Task, TaskName
from fieldmark.tasks.identification.task import Identifying
from fieldmark.tasks.tagging.task import Tagging

__all__ = ["TASKS", "Form", "Task", "TaskName", "task_of"]

TASKS: tuple[Task, ...] = (Identifying(), Tagging(), Attributes())


def task_of(plan: Plan) -> Task:
    """Return the task of a plan. The type of predictions that its last stage writes decides.

    Raises:
        PlanError: The plan writes no predictions, or predictions that belong to no task.
    """
    final = plan.final()
    for task in TASKS:
        if issubclass(final.output, task.predictions):
            return task
    raise PlanError(
        f"The plan '{plan.name}' has a last stage whose predictions belong to no task.",
        got=f"{final.name} ({final.kind})",
        fix="end the plan with a stage that ranks individuals, predicts labels, or answers questions.",
    )
