"""Services: what the backend does beyond storing."""
