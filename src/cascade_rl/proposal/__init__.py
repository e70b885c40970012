"""A recipe for a user's own files, model and machine, as `cascade init` writes it."""
