"""Scores to answers: ranked identities, unknown individuals, thresholds found on validation."""
