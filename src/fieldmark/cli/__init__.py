"""The command line: parse options, call the Python function of the same name, print the result."""
