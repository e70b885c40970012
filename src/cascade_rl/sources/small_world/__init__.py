"""The words, functions and files that the built-in problems are made of."""
