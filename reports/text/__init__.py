"""Text: languages, figures as they are printed, tables, Markdown."""
