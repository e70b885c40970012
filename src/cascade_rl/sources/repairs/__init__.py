"""Repairs of code: bugs that are injected into functions of installed packages."""
