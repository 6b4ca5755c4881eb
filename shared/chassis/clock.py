"""The one place that asks what time it is."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Wall time; everything below the edge takes it as an argument."""
    return datetime.now(UTC)
