"""Measuring: plans, load, accounting, the sweep."""
