"""Plans, stages and their artifacts, the engine that fits the stages, and their application to photos."""
