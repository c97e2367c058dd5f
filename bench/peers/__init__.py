"""TODO bench/peers."""
