"""Embeddings to ranked identities: nearest neighbours, re-ranking, matching points; photos only compare with others."""
