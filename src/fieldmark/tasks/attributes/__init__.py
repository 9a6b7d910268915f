"""Attributes: one answer to each question about a photo."""
