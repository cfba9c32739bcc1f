"""The `convexpy` command, started as people start it."""
