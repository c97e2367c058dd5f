"""Weights in PyTorch's pickled files: read without running code, converted once to safetensors."""
