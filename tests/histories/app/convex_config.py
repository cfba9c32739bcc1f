"""The app whose transactions are recorded and judged."""

from convexpy import define_app

app = define_app()
