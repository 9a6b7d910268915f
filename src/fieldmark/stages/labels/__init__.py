"""Stages that score labels and answers, and decide which of them each photo gets."""
