"""Batching: requests wait, share batches and are answered."""
