"""Serving: a served variant, and the machine's resources that it uses."""
