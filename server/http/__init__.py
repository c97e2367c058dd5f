"""HTTP: connections, bodies, problems, ids, keys, log and metrics; nothing of what is asked."""
