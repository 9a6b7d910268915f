"""Embeddings to their nearest neighbours."""
