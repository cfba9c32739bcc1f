"""The `convexpy` command."""
