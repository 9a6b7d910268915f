"""The identification task: rank known individuals for each photo, or answer that the individual is unknown."""
