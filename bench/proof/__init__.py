"""Proof that the measurements hold: planted differences, another generator, planted trouble."""
