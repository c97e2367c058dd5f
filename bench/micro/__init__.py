"""Micro-benchmarks (pytest-benchmark): engines, tokenization, the whole predictor.

``nox -s micro`` runs them; the usual tests do not collect them.
"""
