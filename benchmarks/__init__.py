"""Plain numbers about convexpy, beside what its raw parts do in the same run: `python -m benchmarks`."""
