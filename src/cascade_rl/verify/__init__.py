"""Pure functions from text to score: no torch, no input or output."""
