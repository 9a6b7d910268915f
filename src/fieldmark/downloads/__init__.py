"""Download photos from URLs: limit requests per host, check files by decoding, and record the result of each URL."""
