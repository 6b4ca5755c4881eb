"""The rules of auth: pure."""
