"""Tagging: many labels a photo."""
