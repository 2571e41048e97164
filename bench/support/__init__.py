"""What the benchmarks share: programs under measurement, the load, their cost."""
