"""The three tasks, and which of them a plan is for."""

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
    """The task of a plan, by what its last stage leaves.

    Raises:
        PlanError: The plan predicts nothing, or something that no task knows.
    """
    final = plan.final()
    for task in TASKS:
        if issubclass(final.output, task.predictions):
            return task
    raise PlanError(
        f"The plan '{plan.name}' ends in predictions that belong to no task.",
        got=f"{final.name} ({final.kind})",
        fix="end it with a stage that ranks individuals, gives labels, or answers questions.",
    )
