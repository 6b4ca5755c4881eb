"""HTTP routes of notifications."""
