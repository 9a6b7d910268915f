"""Training: the training loop with checkpoints, samplers, schedules and losses; and prediction of embeddings."""
