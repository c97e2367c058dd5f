"""TODO bench/peers/litserve."""
