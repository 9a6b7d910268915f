"""Synthetic collections for the demo, tests and benchmarks: whale flukes, museum objects and garments."""
