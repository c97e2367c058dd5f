"""Runs: a load, a measured cell, its validity, and the file they are kept in."""
