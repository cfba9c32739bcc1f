"""The innermost component."""
