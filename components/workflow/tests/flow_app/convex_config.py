"""The app of these tests: it only installs the component."""

from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
