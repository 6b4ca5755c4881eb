"""What each process is told by its environment: addresses, roles' DSNs, tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack.home import Home, Secrets
from cli.stack.layout import Part
from cli.stack.migrate import ROLES, ROOT, SERVICES, DatabaseAccess

GATEWAY_FILES = ROOT / "deploy" / "gateway"


@dataclass(frozen=True)
class Addresses:
    """Ports on 127.0.0.1, and where services find Kafka. `services` are those of `processes` that serve HTTP."""

    gateway: int
    processes: Mapping[str, int]
    services: Mapping[str, int]
    trading_internal: int
    billing_internal: int
    sandbox: int
    kafka: str

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"


def service_environment(
    part: Part, home: Home, secrets: Secrets, database: DatabaseAccess, at: Addresses, topic_prefix: str
) -> dict[str, str]:
    """The environment of one process; it is given its own service's roles and no other."""
    service = part.service
    environment = {
        "PROCESS_NAME": part.name,
        "HTTP_PORT": str(at.processes[part.name]),
        "KAFKA_BOOTSTRAP": at.kafka,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "JWKS_URL": f"{at.url('auth')}/.well-known/jwks.json",
        "SERVICE_TOKEN": secrets.service_token,
        "TRADING_INTERNAL_URL": f"http://127.0.0.1:{at.trading_internal}",
        "PYTHONPATH": str(ROOT),
        **{f"POSTGRES_{role.upper()}_DSN": database.dsn(f"{service}_{role}") for role in ROLES},
        **{f"POSTGRES_{role.upper()}_CONNECTIONS": str(most) for role, most in part.pools.items()},
    }
    if service == "billing":
        if part.serves_http:
            environment["INTERNAL_HTTP_PORT"] = str(at.billing_internal)
    else:
        environment["BILLING_INTERNAL_URL"] = f"http://127.0.0.1:{at.billing_internal}"
    if service == "auth":
        environment["AUTH_SIGNING_KEY_FILE"] = str(home.signing_key)
    if service == "trading":
        sandbox = f"127.0.0.1:{at.sandbox}"
        environment |= {
            "BYBIT_REST_URL": f"http://{sandbox}",
            "BYBIT_WS_URL": f"ws://{sandbox}/v5/public/linear",
        }
        if part.serves_http:
            environment["INTERNAL_HTTP_PORT"] = str(at.trading_internal)
    return environment


def gateway_environment(at: Addresses, home: Path) -> dict[str, str]:
    """The placeholders of the Caddyfile."""
    addresses = {f"{service.upper()}_ADDRESS": f"127.0.0.1:{at.services[service]}" for service in SERVICES}
    return {
        **addresses,
        "GATEWAY_LISTEN": f"http://:{at.gateway}",
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_FILES": str(GATEWAY_FILES),
        "XDG_DATA_HOME": str(home / "caddy"),
        "XDG_CONFIG_HOME": str(home / "caddy"),
    }
