"""HTTP in: logging in, and what is one's own."""
