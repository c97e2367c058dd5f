"""Graphs: export, rewrites, quantization, pruning of the vocabulary, conversion."""
