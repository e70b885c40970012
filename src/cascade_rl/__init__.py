"""Post-train a language model one domain after another (the cascade of arXiv 2512.13607)."""

__version__ = "0.1.0"
