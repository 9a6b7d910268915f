"""What stages leave in a run, one class a kind: each alone knows the names and formats of its files."""
