"""The attributes task: one answer to each question about a photo."""
