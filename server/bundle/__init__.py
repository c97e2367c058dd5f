"""The bundle: a folder with everything needed to deploy a variant elsewhere."""
