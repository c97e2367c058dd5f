"""Building: a recipe makes a variant folder, and a folder is opened again."""
