"""The bundle: a folder with which a variant is deployed elsewhere."""
