"""Scores and truth in, one number out."""
