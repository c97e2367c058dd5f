"""Batching: sentences wait in a queue, share batches and are answered."""
