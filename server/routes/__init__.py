"""Routes: what can be asked, over HTTP, and how it is answered."""
