"""Programs that act as devices; they know the declarations and nothing of the backend."""
