"""What runs in the sandbox's own processes: standard library only, and nothing of the trainer."""
