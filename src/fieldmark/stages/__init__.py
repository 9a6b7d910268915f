"""The verbs of a plan: split, train, embed, rank, answer. Each reads, calls one room, writes."""
