"""Plots: pictures drawn from the facts."""
