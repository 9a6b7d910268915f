"""Errors, settings as frozen values, the run folder, seeds, progress. Imports nothing of ours."""
