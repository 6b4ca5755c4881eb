"""The environment of analytics."""

from typing import Literal

from shared.chassis.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    service: Literal["analytics"] = "analytics"
