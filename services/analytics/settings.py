"""Settings of analytics, read from the environment."""

from typing import Literal

from shared.chassis.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    service: Literal["analytics"] = "analytics"
