"""Scores to answers: ranked identities, strangers, thresholds found on validation."""
