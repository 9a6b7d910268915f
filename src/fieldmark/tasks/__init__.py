"""What runs are for: identification, tagging and attributes; how each is measured, reported and answered."""
