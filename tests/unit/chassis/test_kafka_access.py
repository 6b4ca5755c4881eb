"""The environment variables that give a process its Kafka login and transport."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from shared.chassis.events.broker_access import KafkaAccess, KafkaSettings, client_options

LOGIN = {"kafka_sasl_username": "billing", "kafka_sasl_password": "secret"}


def settings(**values: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"kafka_bootstrap": "kafka:9092", **values})


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    day = datetime(2026, 1, 31, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = made.not_valid_before(day).not_valid_after(day + timedelta(days=3650)).sign(key, None)
    certificate, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


def test_without_settings_there_is_no_login_and_no_tls() -> None:
    assert client_options(settings().kafka) == {"bootstrap_servers": "kafka:9092", "security_protocol": "PLAINTEXT"}
    assert client_options("kafka:9092") == {"bootstrap_servers": "kafka:9092"}


def test_a_login_is_given_to_every_client_and_never_printed() -> None:
    found = settings(kafka_security_protocol="SASL_PLAINTEXT", **LOGIN)
    options = client_options(found.kafka)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("billing", "secret")
    assert "secret" not in repr(found) + repr(found.kafka) + str(found.kafka)


def test_a_password_can_be_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of a file\n")
    given = {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_username": "billing"}
    assert settings(**given, kafka_sasl_password_file=file).kafka.password == "of a file"
    with pytest.raises(ValidationError, match="KAFKA_SASL_PASSWORD_FILE cannot be read"):
        settings(**given, kafka_sasl_password_file=tmp_path / "nowhere")


def test_tls_verifies_the_broker_and_presents_a_client_certificate(certificate: tuple[Path, Path]) -> None:
    ca_file, key_file = certificate
    for protocol, login in (("SSL", {}), ("SASL_SSL", LOGIN)):
        found = settings(
            **login,
            kafka_security_protocol=protocol,
            kafka_ca_file=ca_file,
            kafka_certificate_file=ca_file,
            kafka_key_file=key_file,
        )
        context = client_options(found.kafka)["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "kafka"),),)]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "are required"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_username": "billing"}, "are required"),
        (LOGIN, "set but not used"),
        ({"kafka_security_protocol": "SSL", "kafka_ca_file": "/nowhere"}, "cannot be used"),
        ({"kafka_security_protocol": "TLS"}, "Input should be"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "GSSAPI", **LOGIN}, "Input should be"),
    ],
)
def test_settings_that_could_never_connect_are_refused_at_start(values: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(**values)


def test_the_text_of_an_access_is_its_address() -> None:
    assert str(KafkaAccess("kafka:9092", "SASL_SSL", password="secret")) == "kafka:9092"
