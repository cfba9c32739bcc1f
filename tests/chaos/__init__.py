"""Random workflows on a real server whose processes are killed at random: all end, and nothing happens twice."""
