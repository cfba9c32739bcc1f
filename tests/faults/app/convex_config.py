"""The app of the fault tests: rows to count, workflows to interrupt, functions that misbehave."""

from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
