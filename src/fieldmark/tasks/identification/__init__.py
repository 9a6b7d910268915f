"""Identification: which individual is on a photo, or an unknown one."""
