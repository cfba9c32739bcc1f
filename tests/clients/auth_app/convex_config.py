"""An app that knows its users."""

from convexpy import define_app

app = define_app()
