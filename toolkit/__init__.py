"""The library: models, recipes, variants, engines, the gate, run files, the command line."""
