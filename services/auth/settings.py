"""The environment of auth."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field, FilePath

from shared.chassis.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    service: Literal["auth"] = "auth"

    auth_signing_key_file: FilePath  # Ed25519, PEM, private
    auth_access_token_s: int = Field(default=600, ge=10, le=600)
    auth_refresh_token_days: int = Field(default=30, ge=1, le=90)
    auth_longest_session_days: int = Field(default=90, ge=1, le=365)
    auth_waiting_passwords: int = Field(default=64, ge=1)  # log-ins that may wait for one of the two hashers

    # Whose X-Forwarded-For is believed: the gateway's.
    auth_trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )

    @property
    def refresh_token_ttl(self) -> timedelta:
        return timedelta(days=self.auth_refresh_token_days)

    @property
    def longest_session(self) -> timedelta:
        return timedelta(days=self.auth_longest_session_days)
