"""Tokens of users: who may have signed them, whether they did, and what they say about the user."""
