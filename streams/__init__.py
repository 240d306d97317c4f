"""Streams: the declarations of the kinds of reading, one TOML file each, and their checks."""
