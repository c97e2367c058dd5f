"""HTTP: connections, bodies, problems, ids, keys, log, metrics; nothing about the questions."""
