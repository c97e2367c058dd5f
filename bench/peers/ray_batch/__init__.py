"""TODO bench/peers/ray_batch."""
