"""The entries of the catalogue, one family a file; each file lists its own as ENTRIES."""
