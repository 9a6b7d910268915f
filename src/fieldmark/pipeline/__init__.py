"""Plans of stages: what a stage is, what it leaves, the engine that fits them, and their application to any photos."""
