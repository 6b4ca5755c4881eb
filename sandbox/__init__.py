"""Local stand-ins for external services: servers that speak their protocols and record the requests they get."""
