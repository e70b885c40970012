"""What several benchmarks share: rows of one shape, prompts and short answers of one kind."""
