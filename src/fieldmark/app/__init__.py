"""The doors: command line and the same verbs for Python. No logic."""
