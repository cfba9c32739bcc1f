"""The app of the workpool's tests: two pools, one of them with a number in its code."""

from convexpy_workflow.config import workpool

from convexpy import define_app

app = define_app()
app.use(workpool)
app.use(workpool, name="narrow")
