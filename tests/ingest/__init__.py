"""From messages to committed rows."""
