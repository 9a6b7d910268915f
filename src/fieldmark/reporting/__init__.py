"""HTML pages, plots and CSV exports of runs and data sets."""
