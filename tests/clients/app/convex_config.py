"""The app of the client tests: small functions, each there for one kind of test, and the workflow component."""

from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
