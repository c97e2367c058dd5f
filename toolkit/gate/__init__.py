"""The gate: whether a variant still gives the answers of the gold set and of the reference."""
