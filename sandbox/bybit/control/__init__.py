"""`/control/*`: drives the sandbox. Bybit has no such API."""
