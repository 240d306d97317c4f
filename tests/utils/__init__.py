"""Helpers that know nothing else of AutoForge."""
