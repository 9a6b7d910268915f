"""Decision rules: identity rankings, thresholds for unknown individuals and labels, averages of several models."""
