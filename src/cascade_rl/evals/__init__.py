"""A model's answers against held-out problems, and stored replies graded again."""
