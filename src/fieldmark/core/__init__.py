"""Errors, frozen settings, the run folder, seeds and progress. Imports no other package of fieldmark."""
