"""Runs queued backtests: claims them, calculates each in a separate process, stores the results."""
