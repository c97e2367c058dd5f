"""Our server against others, each in an environment of its own."""
