"""Validators of what the component gives to apps, for their own arguments, results and documents."""

from __future__ import annotations

from convexpy import Validator, v
from convexpy_workflow.component.schema import outcome, step_kind

v_workflow_id: Validator = v.string()
"""Of what `start` returns."""

v_workflow_step: Validator = v.object(
    {
        "workflowId": v_workflow_id,
        "stepId": v.string(),
        "stepNumber": v.number(),
        "name": v.string(),
        "kind": step_kind,
        "args": v.any(),
        "attempts": v.number(),
        "logs": v.array(v.object({"level": v.string(), "text": v.string(), "attempt": v.number()})),
        "runResult": v.union(outcome, v.null()),
        "startedAt": v.number(),
        "completedAt": v.union(v.number(), v.null()),
        "workId": v.union(v.string(), v.null()),
        "eventId": v.union(v.string(), v.null()),
        "nestedWorkflowId": v.union(v.string(), v.null()),
    }
)
"""Of a step in the pages of `list_steps` and in `running` of `status`."""
