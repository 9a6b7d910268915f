"""Photos that exist only as addresses: fetched politely, checked by decoding, kept with what became of each."""
