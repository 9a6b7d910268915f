"""Labels that are doubtful, left out, or guessed for photos that have none."""
