"""A repair under its repository's own tests: apart from it where they allow it, else among canaries."""
