"""The component's definition, for an app's `convex_config.py`: `app.use(workflow)`."""

from __future__ import annotations

from convexpy import define_component

workflow = define_component("workflow", functions="convexpy_workflow.component", before_push="pushes:before_push")
