"""Claims: what the article says, and how it is judged by what was measured."""
