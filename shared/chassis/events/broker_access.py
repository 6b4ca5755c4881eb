"""How a client connects to Kafka: the address, TLS, and the principal it authenticates as."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True)
class KafkaAccess:
    """A cluster and the principal that connects to it. Without a CA file, TLS trusts the system's authorities."""

    bootstrap: str
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        return self.bootstrap

    @property
    def has_principal(self) -> bool:
        return self.protocol.startswith("SASL_")


def client_options(kafka: KafkaAccess | str) -> dict[str, Any]:  # Any: keyword arguments of an untyped library
    """Return the keyword arguments of every aiokafka client. A plain address means a cluster without security."""
    if isinstance(kafka, str):
        return {"bootstrap_servers": kafka}
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "security_protocol": kafka.protocol}
    if kafka.has_principal:
        options |= {
            "sasl_mechanism": kafka.mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password,
        }
    if kafka.protocol.endswith("SSL"):
        options["ssl_context"] = _tls(kafka)
    return options


def _tls(kafka: KafkaAccess) -> ssl.SSLContext:
    """Create a context that verifies the broker's certificate and name. Raises OSError for an unusable file."""
    context = ssl.create_default_context(cafile=kafka.ca_file)
    if kafka.certificate_file is not None:
        context.load_cert_chain(kafka.certificate_file, kafka.key_file)
    return context


class KafkaSettings(BaseSettings):
    """The Kafka settings of a process: `KAFKA_BOOTSTRAP=…`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    kafka_bootstrap: str
    kafka_topic_prefix: str = ""
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_sasl_password_file: Path | None = None  # instead of the password itself
    kafka_ca_file: Path | None = None
    kafka_certificate_file: Path | None = None  # the client's, if the broker requires one
    kafka_key_file: Path | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Check at startup: a client that cannot connect would only retry."""
        access = self.kafka
        if access.has_principal and not (access.username and access.password):
            raise ValueError(
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or KAFKA_SASL_PASSWORD_FILE) are required if "
                f"KAFKA_SECURITY_PROTOCOL is {access.protocol}"
            )
        if not access.has_principal and (access.username or access.password):
            raise ValueError(
                f"KAFKA_SASL_* is set but not used, because KAFKA_SECURITY_PROTOCOL is {access.protocol}"
            )
        if access.protocol.endswith("SSL"):
            try:
                _tls(access)
            except OSError as error:
                raise ValueError(f"the TLS files for Kafka cannot be used: {error}") from error
        return self

    @property
    def kafka(self) -> KafkaAccess:
        """Raises ValueError if the password file cannot be read."""
        password = self.kafka_sasl_password.get_secret_value()
        if self.kafka_sasl_password_file is not None:
            try:
                password = self.kafka_sasl_password_file.read_text().strip()
            except OSError as error:
                raise ValueError(f"KAFKA_SASL_PASSWORD_FILE cannot be read: {error}") from error
        return KafkaAccess(
            self.kafka_bootstrap,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_sasl_username,
            password,
            self.kafka_ca_file,
            self.kafka_certificate_file,
            self.kafka_key_file,
        )
