"""Facts: what run files, the article and the price file say, as records and numbers."""
