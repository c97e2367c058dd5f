"""Graphs: what an export makes, and how it is rewritten, quantized, pruned and converted."""
