"""Sweep: measures a plan point by point and writes the cells to a run file."""
