"""Queries: the SQL statements of the project, one module per table."""
