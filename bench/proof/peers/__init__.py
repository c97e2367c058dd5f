"""Comparison of our server with others, each in its own environment."""
