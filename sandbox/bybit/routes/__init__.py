"""The REST routes of Bybit V5, by subject."""
