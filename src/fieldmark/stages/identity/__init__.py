"""Stages for identification: embedding, ranking, re-ranking, ensembles and pseudo-labels."""
