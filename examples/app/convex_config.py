"""The reading room: documents, and a workflow that reads each of them."""

from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
