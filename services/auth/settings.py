"""Settings of auth, from the environment."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import DirectoryPath, Field, FilePath, model_validator

from services.auth.domain.attempts import FreeAttempts
from services.auth.domain.registrations import RegistrationLimits
from services.auth.operations.passwords import MEMORY_KIB
from shared.chassis.ended_logins import LONGEST_ACCESS_TOKEN
from shared.chassis.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    service: Literal["auth"] = "auth"

    auth_signing_key_file: FilePath | None = None  # Ed25519, PEM, private
    auth_signing_keys: DirectoryPath | None = None  # a folder of such keys, each named by when it begins to sign
    auth_access_token_s: int = Field(default=600, ge=10, le=LONGEST_ACCESS_TOKEN.seconds)
    auth_refresh_token_days: int = Field(default=30, ge=1, le=90)
    auth_longest_session_days: int = Field(default=90, ge=1, le=365)
    auth_waiting_passwords: int = Field(default=64, ge=1)  # requests that may wait for one of the two threads
    auth_password_memory_kib: int = Field(default=MEMORY_KIB, ge=1024)  # of Argon2id; less only in tests
    auth_free_attempts_account: int = Field(default=10, ge=1)  # failures before the first wait
    auth_free_attempts_network: int = Field(default=100, ge=1)
    auth_registrations_an_hour: int = Field(default=20, ge=1)  # per network: an IPv4 /24, an IPv6 /48
    auth_registrations_a_day: int = Field(default=60, ge=1)
    auth_trials_a_day: int = Field(default=5, ge=0)

    @model_validator(mode="after")
    def _check_signing_keys(self) -> Self:
        if self.auth_signing_key_file is None and self.auth_signing_keys is None:
            raise ValueError("AUTH_SIGNING_KEYS or AUTH_SIGNING_KEY_FILE is required")
        return self

    @model_validator(mode="after")
    def _no_weak_hashes_in_production(self) -> Self:
        if self.auth_password_memory_kib < MEMORY_KIB and self.environment == "production":
            raise ValueError(f"AUTH_PASSWORD_MEMORY_KIB is at least {MEMORY_KIB} where ENVIRONMENT is production")
        return self

    @property
    def refresh_token_ttl(self) -> timedelta:
        return timedelta(days=self.auth_refresh_token_days)

    @property
    def longest_login(self) -> timedelta:
        return timedelta(days=self.auth_longest_session_days)

    @property
    def registration_limits(self) -> RegistrationLimits:
        return RegistrationLimits(
            self.auth_registrations_an_hour, self.auth_registrations_a_day, self.auth_trials_a_day
        )

    @property
    def free_attempts(self) -> FreeAttempts:
        return FreeAttempts(self.auth_free_attempts_account, self.auth_free_attempts_network)
