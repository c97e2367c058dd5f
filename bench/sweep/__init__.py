"""Sweep: a plan measured point by point into a run file."""
