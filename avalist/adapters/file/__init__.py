"""Local files: the write-ahead log, the folder lock and blobs."""
