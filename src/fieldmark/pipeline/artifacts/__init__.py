"""Artifacts: the files that stages write into a run. Each class reads and writes the files of one kind of artifact."""
