"""Processes that run verifier functions on untrusted text and can be killed; see `processes.ProcessJudges`."""
