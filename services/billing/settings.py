"""Settings of billing, from the environment."""

from typing import Literal

from shared.chassis.settings import ServiceSettings


class BillingSettings(ServiceSettings):
    service: Literal["billing"] = "billing"
