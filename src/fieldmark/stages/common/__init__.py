"""Stages that all tasks use: folds, image regions, training and the submission."""
