"""Engines: what runs a variant, one file a kind; the registry of kinds; the predictor."""
