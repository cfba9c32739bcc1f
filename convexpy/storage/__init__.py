"""Bytes by key at a timestamp: LMDB, the layout of its keys, and the folder around it."""
