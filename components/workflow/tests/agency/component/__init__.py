"""The functions of the component."""
