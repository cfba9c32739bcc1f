"""The app of the chaos runs: workflows that play random programs."""

from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
