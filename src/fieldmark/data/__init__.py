"""Collections (tables of photos), label vocabularies, folds, samplers."""
