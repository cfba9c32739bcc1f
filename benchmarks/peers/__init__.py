"""Other systems: what runs in their own environment, and is started from outside it."""
