"""Stages that tell individuals apart: embedding, ranking, re-ranking, ensembles, pseudo-labels."""
