"""Serving: a served variant, and what it takes of the machine."""
