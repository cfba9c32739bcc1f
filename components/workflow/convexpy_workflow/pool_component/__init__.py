"""The workpool component itself: its tables and the functions that alone touch them. Apps use `Workpool` instead."""
