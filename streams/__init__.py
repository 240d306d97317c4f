"""Streams: each kind of reading is declared in one TOML file of this folder."""
