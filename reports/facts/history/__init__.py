"""History: what earlier runs of one machine tell, and which runs are one."""
