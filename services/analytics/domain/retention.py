"""How long a user's analyses are kept. The table is in the service's README too."""

from collections.abc import Mapping
from datetime import timedelta

from shared.contracts.billing import PlanName

KEPT: Mapping[PlanName, timedelta] = {
    "FREE": timedelta(days=30),
    "PREMIUM": timedelta(days=180),
    "PRO": timedelta(days=730),
}
