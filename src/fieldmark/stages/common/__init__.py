"""Stages that all tasks use: folds, regions, training, the submission."""
