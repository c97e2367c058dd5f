"""Routes: the HTTP interfaces, their answers and their description."""
