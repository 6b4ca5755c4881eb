"""The lookup key of an e-mail address, by which services find its user without storing the address."""

import hashlib


def email_sha256(email: str) -> bytes:
    """Return the lookup key of an address; upper and lower case give the same key."""
    return hashlib.sha256(email.strip().lower().encode()).digest()
