"""The same picture in several rows of a table, and what that says about names."""
