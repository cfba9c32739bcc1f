"""The component itself: tables and the functions that alone touch them. Apps use `WorkflowManager` instead."""
