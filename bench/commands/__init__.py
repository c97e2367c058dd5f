"""The bench's commands, one file a kind."""
