"""Carries parcels."""
