"""Ranking of identities by embeddings: nearest neighbours, re-ranking and keypoint matching."""
