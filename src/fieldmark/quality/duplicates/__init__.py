"""Find near-duplicate photos and report conflicts between their names."""
