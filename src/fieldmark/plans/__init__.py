"""Whole plans, one file a contest; functions that return a Plan."""
