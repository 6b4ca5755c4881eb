"""Settings of notifications, read from the environment."""

from typing import Literal

from shared.chassis.settings import ServiceSettings


class NotificationsSettings(ServiceSettings):
    service: Literal["notifications"] = "notifications"
