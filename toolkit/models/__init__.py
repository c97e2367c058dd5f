"""Models: the built-in one, a folder, or one of the hub, and what is known of them."""
