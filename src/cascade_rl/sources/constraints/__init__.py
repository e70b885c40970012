"""Instructions that a program can check: composed, or of the public benchmarks."""
