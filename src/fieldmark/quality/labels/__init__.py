"""Find label issues, drop noisy samples, and select pseudo-labels."""
