"""Retention of analyses by plan. The service's README has the same table."""

from collections.abc import Mapping
from datetime import timedelta

from shared.contracts.billing import PlanName

RETENTION: Mapping[PlanName, timedelta] = {
    "FREE": timedelta(days=30),
    "PREMIUM": timedelta(days=180),
    "PRO": timedelta(days=730),
}
