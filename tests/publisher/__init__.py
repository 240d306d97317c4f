"""The static publisher."""
