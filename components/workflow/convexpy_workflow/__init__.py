"""Durable workflows for convexpy: what an app imports."""
