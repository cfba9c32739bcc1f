"""Processes: who starts them, what they say to one another, what happens when one dies."""
