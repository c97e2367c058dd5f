"""Explain: what a variant computes, how near it comes to the machine, where its time goes."""
