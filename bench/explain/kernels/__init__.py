"""The engines' own kernels for matrix products, each alone."""
