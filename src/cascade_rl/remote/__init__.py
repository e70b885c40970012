"""Protocols that something behind a network fulfils."""
