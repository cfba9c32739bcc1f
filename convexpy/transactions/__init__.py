"""Serializable transactions over snapshots: what was read, what was written, and who may commit."""
