"""The stages of plans, one file per stage: for all tasks, for identification, and for labels and attributes."""
