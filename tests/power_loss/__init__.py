"""What a disk may hold after the power went out at any moment, made from a record of all that was written to it."""
