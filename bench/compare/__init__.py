"""Compare: two sides measured in turns, and the verdict."""
