"""Rules of alerts; pure."""
