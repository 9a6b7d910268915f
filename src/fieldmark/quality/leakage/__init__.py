"""What gives answers away without a look at the picture: columns, file names, copies, texts in photos."""
