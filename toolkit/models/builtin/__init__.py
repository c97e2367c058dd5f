"""The built-in model: its weights and vocabulary, how it was trained and how it is grown."""
