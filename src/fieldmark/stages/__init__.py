"""The verbs of a plan: split, train, score, drop, stack, cut, answer and others. Each reads, calls one room, writes."""
