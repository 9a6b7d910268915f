"""Pages and pictures of a run or a collection: plots, sheets, report.html."""
