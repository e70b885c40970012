"""Benchmarks, statistics and the gate."""
