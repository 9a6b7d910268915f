"""What is wrong with the data: doubtful labels, one picture twice, names that contradict; and sure guesses."""
