"""The settings that every service reads from its environment."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator

from shared.chassis.events.broker_access import KafkaSettings


class ServiceSettings(KafkaSettings):
    """Upper case names without a prefix: `HTTP_PORT=8081`. A service adds its own fields in a subclass."""

    service: str
    environment: str = "development"
    log_level: str = "INFO"

    http_host: str = "127.0.0.1"
    http_port: int = 0  # 0: any free port
    internal_http_port: int | None = None  # the listener for other services, if the service has one
    body_limit_bytes: int = 1_048_576
    http_idle_s: float = Field(default=60.0, gt=0)  # how long a connection may wait for a complete request head
    http_body_s: float = Field(default=20.0, gt=0)  # how long a body may take to arrive
    http_answer_s: float = Field(default=30.0, gt=0)  # how long a client may take to read an answer

    postgres_app_dsn: SecretStr
    postgres_worker_dsn: SecretStr
    postgres_queue_dsn: SecretStr
    postgres_app_connections: int = 6
    postgres_worker_connections: int = 3
    postgres_queue_connections: int = 3

    # The networks whose X-Forwarded-For is trusted: the gateway's address. None by default.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    jwks_url: str = ""
    token_issuer: str = "tradefleet"
    token_audience: str = "tradefleet-api"
    service_key_file: FilePath | None = None  # this service's own private key, for calls to other services
    service_keys_file: FilePath | None = None  # the public keys of all services, if others may call this one
    trading_internal_url: str = ""

    fault_points: Path | None = None  # the folder of a fault run: see shared/chassis/crash_points.py
    process_name: str = ""

    @model_validator(mode="after")
    def _calls_are_signed(self) -> Self:
        if self.trading_internal_url and self.service_key_file is None:
            raise ValueError("SERVICE_KEY_FILE is needed to call TRADING_INTERNAL_URL")
        return self

    @model_validator(mode="after")
    def _no_faults_in_production(self) -> Self:
        if self.fault_points is not None and self.environment == "production":
            raise ValueError("FAULT_POINTS cannot be set where ENVIRONMENT is production")
        return self
