"""Features of the backend beyond storing readings."""
