"""Keys that authenticate calls between services: one private key each, and the list of public keys."""

import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.chassis.keys import load_private_key, public_jwk
from stack.private_files import write_private


def key_file_of(folder: Path, service: str) -> Path:
    return folder / f"{service}.pem"


def list_file_of(folder: Path) -> Path:
    return folder / "public.json"


def make_service_keys(folder: Path, services: Iterable[str]) -> None:
    """Generate missing keys; existing ones are kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for service in services:
        if not key_file_of(folder, service).exists():
            write_private(key_file_of(folder, service), new_private_key())
            publish(folder, service, key_file_of(folder, service))


def publish(folder: Path, service: str, key_file: Path) -> None:
    """Add the public key to the list. Old entries remain, so that both keys are accepted during a rotation."""
    listed = json.loads(list_file_of(folder).read_text())["keys"] if list_file_of(folder).exists() else []
    added = {**public_jwk(load_private_key(key_file)), "service": service}
    if added not in listed:
        write_private(list_file_of(folder), json.dumps({"keys": [*listed, added]}, indent=1).encode())


def new_private_key() -> bytes:
    """Generate an Ed25519 key in PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
