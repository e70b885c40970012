"""A run directory: what writes it and what reads it, with no model in sight."""
