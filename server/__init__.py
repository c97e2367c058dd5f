"""Serve one variant over HTTP."""
