"""Stateless helpers that import nothing of the project."""
