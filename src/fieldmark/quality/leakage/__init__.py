"""Leakage audit: predict labels from columns, file names, copies and texts in photos instead of pictures."""
