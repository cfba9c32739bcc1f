"""The components' definitions, for an app's `convex_config.py`: `app.use(workflow)`, `app.use(workpool)`."""

from __future__ import annotations

from convexpy import define_component

workflow = define_component("workflow", functions="convexpy_workflow.component", before_push="pushes:before_push")
workpool = define_component("workpool", functions="convexpy_workflow.pool_component")
