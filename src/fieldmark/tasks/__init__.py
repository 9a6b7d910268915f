"""The tasks of runs (identification, tagging, attributes): their measures, reports and answers."""
