"""The only place that reads the clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the wall time. Code below the edge takes the time as an argument instead."""
    return datetime.now(UTC)
