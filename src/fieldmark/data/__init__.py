"""Collections (tables of photos), label vocabularies, folds and samplers."""
