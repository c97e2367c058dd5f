"""Load: how requests are made, sent and recorded; the Locust file lies beside this folder."""
