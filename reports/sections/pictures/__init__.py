"""Pictures: their sections, and what is to be seen on them."""
