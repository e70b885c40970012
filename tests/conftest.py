"""Puts this folder on the import path, so that tests in subfolders find the shared helpers (tiny.py, fake_run.py)."""
