"""The environment of auth."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, FilePath

from services.auth.domain.attempts import Free
from shared.chassis.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    service: Literal["auth"] = "auth"

    auth_signing_key_file: FilePath  # Ed25519, PEM, private
    auth_access_token_s: int = Field(default=600, ge=10, le=600)
    auth_refresh_token_days: int = Field(default=30, ge=1, le=90)
    auth_longest_session_days: int = Field(default=90, ge=1, le=365)
    auth_waiting_passwords: int = Field(default=64, ge=1)  # log-ins that may wait for one of the two hashers
    auth_free_attempts_account: int = Field(default=10, ge=1)  # failures before one has to wait
    auth_free_attempts_network: int = Field(default=100, ge=1)

    @property
    def refresh_token_ttl(self) -> timedelta:
        return timedelta(days=self.auth_refresh_token_days)

    @property
    def longest_session(self) -> timedelta:
        return timedelta(days=self.auth_longest_session_days)

    @property
    def free_attempts(self) -> Free:
        return Free(self.auth_free_attempts_account, self.auth_free_attempts_network)
