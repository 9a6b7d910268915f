"""Second level (stacking): boosted trees on the models' predictions, label transfer from neighbours, text models."""
