"""The stages of a request inside the reference server, one after the other, without gaps."""

STAGES = ("read", "tokenize", "queue", "engine", "rank", "write")
"""What each contains:

``read``: the body arrives and is parsed.  ``tokenize``: from text to token ids.  ``queue``: waiting
for a stream.  ``engine``: the whole batch that the request's sentence is part of is computed, the
vocabulary ranked with it where the engine does so in its own call (the graphs that are made here
do).  ``rank``: the rest of the ranking, and tokens for ids.  ``write``: back to the request, JSON,
the response's last byte.  Of several sentences in a request the batch that ends last counts.
Together they are the time from a request's arrival to its last byte.
"""
