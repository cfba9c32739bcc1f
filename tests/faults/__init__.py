"""The whole server with faults: kills, floods, malformed input, functions that misbehave, code that breaks."""
