"""From problems to graded groups."""
