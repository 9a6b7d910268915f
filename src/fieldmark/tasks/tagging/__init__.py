"""The tagging task: predict the labels of each photo."""
