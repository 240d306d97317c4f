"""Queries: every SELECT of the project stands in this package."""
