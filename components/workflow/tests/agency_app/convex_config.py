"""The app has workflows, and a component that has workflows too."""

from agency.config import agency
from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
app.use(agency)
