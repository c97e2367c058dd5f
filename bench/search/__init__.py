"""Search: objectives (SLOs), the highest load that meets one, the best settings for one."""
