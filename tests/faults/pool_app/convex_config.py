"""An app with a workpool, to be killed in the middle of its work."""

from convexpy_workflow.config import workpool

from convexpy import define_app

app = define_app()
app.use(workpool)
