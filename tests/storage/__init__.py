"""Databases: schema, batches, files, faults, upgrades."""
