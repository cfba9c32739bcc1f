"""A component with a workflow of its own, which it hands to its parent as a function handle."""
