"""Work under a lease."""
