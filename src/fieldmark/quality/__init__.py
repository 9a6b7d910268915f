"""Tools for data sets: inspection, duplicates, label issues, leakage, regions."""
