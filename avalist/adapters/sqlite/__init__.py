"""SQLite: documents without a server."""
