"""Environment variables of each process: addresses, role DSNs and key files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.analytics.settings import AnalyticsSettings
from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.notifications.settings import NotificationsSettings
from services.trading.settings import TradingSettings
from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.settings import ServiceSettings
from stack.acls import principal
from stack.home import Home, Secrets
from stack.layout import ServiceProcess
from stack.migrate import ROLES, ROOT, SERVICES, DatabaseAccess
from stack.service_keys import key_file_of, list_file_of

SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "billing": BillingSettings,
    "trading": TradingSettings,
    "analytics": AnalyticsSettings,
    "notifications": NotificationsSettings,
}
KEY_ROLES = frozenset({"http", "jobs", "worker"})  # of trading: they decrypt exchange keys
GATEWAY_NETWORKS = '["127.0.0.1/32"]'  # source addresses of the gateway's requests


# All users of a local stack share one IP address, so limits per address must not apply.
SHARED_ADDRESS_LIMITS = {
    "AUTH_REGISTRATIONS_AN_HOUR": "1000000",
    "AUTH_REGISTRATIONS_A_DAY": "1000000",
    "AUTH_TRIALS_A_DAY": "1000000",
}


@dataclass(frozen=True)
class Addresses:
    """Ports on 127.0.0.1, and Kafka with the operator's login.

    `processes` are ports by process name, `services` the ports by service of those that serve HTTP.
    """

    gateway: int
    processes: Mapping[str, int]
    services: Mapping[str, int]
    trading_internal: int
    sandbox: int
    kafka: KafkaAccess

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"


def service_environment(
    process: ServiceProcess,
    home: Home,
    secrets: Secrets,
    database: DatabaseAccess,
    at: Addresses,
    topic_prefix: str,
) -> dict[str, str]:
    """Return the environment of one process, with database roles of its own service only."""
    service = process.service
    environment = {
        "PROCESS_NAME": process.name,
        "HTTP_PORT": str(at.processes[process.name]),
        **kafka_environment(service_login(service, at.kafka, secrets, topic_prefix), topic_prefix),
        "JWKS_URL": f"{at.url('auth')}/.well-known/jwks.json",
        "TRUSTED_PROXIES": GATEWAY_NETWORKS,
        "SERVICE_KEY_FILE": str(key_file_of(home.service_keys, service)),
        "SERVICE_KEYS_FILE": str(list_file_of(home.service_keys)),
        "TRADING_INTERNAL_URL": f"http://127.0.0.1:{at.trading_internal}",
        "PYTHONPATH": str(ROOT),
        **{f"POSTGRES_{role.upper()}_DSN": database.dsn(f"{service}_{role}") for role in ROLES},
        **{f"POSTGRES_{role.upper()}_CONNECTIONS": str(limit) for role, limit in process.pools.items()},
    }
    if service == "auth":
        environment["AUTH_SIGNING_KEY_FILE"] = str(home.signing_key)
        environment["AUTH_SIGNING_KEYS"] = str(home.signing_keys)
        environment |= SHARED_ADDRESS_LIMITS
    if service == "trading":
        sandbox = f"127.0.0.1:{at.sandbox}"
        environment |= {
            "BYBIT_REST_URL": f"http://{sandbox}",
            "BYBIT_WS_URL": f"ws://{sandbox}/v5/public/linear",
        }
        if not process.roles or KEY_ROLES.intersection(process.roles):
            environment["EXCHANGE_KEYS_FILE"] = str(home.exchange_keys)
        if process.serves_http:
            environment["INTERNAL_HTTP_PORT"] = str(at.trading_internal)
    return environment


def settings_from_environment(service: str) -> dict[str, str]:
    """Return the service settings set in our own environment, except servers, which the stack provides."""
    names = {name.upper() for name in SETTINGS[service].model_fields}
    given = {name: os.environ[name] for name in names if name in os.environ}
    return {name: value for name, value in given.items() if not name.startswith(("KAFKA_", "POSTGRES_"))}


def service_login(service: str, operator: KafkaAccess, secrets: Secrets, prefix: str) -> KafkaAccess:
    """Return access to the cluster as the service's own principal, or as the operator if it has no principals."""
    if not operator.has_principal:
        return operator
    login = replace(operator, mechanism="SCRAM-SHA-512", certificate_file=None, key_file=None)
    return replace(login, username=principal(service, prefix), password=secrets.kafka[service])


def kafka_environment(access: KafkaAccess, prefix: str) -> dict[str, str]:
    """Return the variables that `KafkaSettings` reads."""
    environment = {"KAFKA_BOOTSTRAP": access.bootstrap, "KAFKA_TOPIC_PREFIX": prefix}
    environment["KAFKA_SECURITY_PROTOCOL"] = access.protocol
    if access.has_principal:
        environment["KAFKA_SASL_MECHANISM"] = access.mechanism
        environment |= {"KAFKA_SASL_USERNAME": access.username, "KAFKA_SASL_PASSWORD": access.password}
    files = {"CA": access.ca_file, "CERTIFICATE": access.certificate_file, "KEY": access.key_file}
    return environment | {f"KAFKA_{name}_FILE": str(file) for name, file in files.items() if file is not None}


def gateway_environment(at: Addresses, home: Path) -> dict[str, str]:
    """Return the values of the Caddyfile's placeholders."""
    addresses = {f"{service.upper()}_ADDRESS": f"127.0.0.1:{at.services[service]}" for service in SERVICES}
    return {
        **addresses,
        "GATEWAY_LISTEN": f"http://:{at.gateway}",
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_FILES": str(home / "gateway"),
        "XDG_DATA_HOME": str(home / "caddy"),
        "XDG_CONFIG_HOME": str(home / "caddy"),
    }
