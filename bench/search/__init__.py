"""Search: objectives, the highest load that holds one, the best settings for one."""
