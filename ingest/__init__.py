"""Ingest: turn each message into a committed row, or into a rejected message with the reason."""
