"""The command line: parses options, calls the Python functions of the same names, prints."""
