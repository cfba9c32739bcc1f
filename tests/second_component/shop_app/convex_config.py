"""The courier is installed twice."""

from convexpy import define_app
from tests.second_component.config import courier

app = define_app()
app.use(courier)
app.use(courier, name="express")
