"""HTTP endpoints of auth."""
