"""Run untrusted programs; the expected answer never enters the child."""
