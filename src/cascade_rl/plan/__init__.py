"""What a run will take before it starts: memory, time, energy and cost of each stage on named machines."""
