"""Load: how requests are made, sent and recorded; the Locust file is beside this folder."""
