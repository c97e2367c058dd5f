"""Benchmark and choose how to deploy a Chinese masked language model on ordinary CPUs."""
