"""Proofs that the measurements are right: planted differences, another generator, planted kills."""
