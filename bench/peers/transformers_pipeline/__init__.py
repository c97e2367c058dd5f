"""TODO bench/peers/transformers_pipeline."""
