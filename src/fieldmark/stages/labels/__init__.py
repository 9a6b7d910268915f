"""Stages that score labels and answers, and decide which a photo gets."""
