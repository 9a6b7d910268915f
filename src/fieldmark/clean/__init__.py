"""What is wrong with the labels: doubtful cells and images, sure guesses, names that imply names."""
