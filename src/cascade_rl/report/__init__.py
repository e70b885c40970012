"""One self-contained page from a run directory."""
