"""What is computed from readings, and pushed."""
