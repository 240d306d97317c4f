"""Ingest: from a message's bytes to a committed row, or to a rejected message with the reason."""
