"""Build, load, save and run language models."""
