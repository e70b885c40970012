"""Protocols that something behind a network fulfils: a judge, over the client of an OpenAI-compatible server."""
