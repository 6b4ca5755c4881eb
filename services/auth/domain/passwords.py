"""Rules for passwords. NOTICE names the sources of the list of common ones."""

import gzip
import unicodedata
from importlib.resources import files

from shared.contracts.texts import is_drawn

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024


def check_password(text: str) -> str:
    """Return the password in the form that is hashed (NFC). Raises ValueError."""
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    password = unicodedata.normalize("NFC", text)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return password


def check_new_password(text: str) -> str:
    """Check a password that is being set. Raises ValueError, also for one of the most common passwords."""
    password = check_password(text)
    visible = "".join(filter(is_drawn, _fold(password)))
    if not visible:
        raise ValueError("must not consist of blanks only")
    if visible in COMMON_PASSWORDS or _fold(password).strip() in COMMON_PASSWORDS:
        raise ValueError("must not be one of the most common passwords")
    return password


def _fold(text: str) -> str:
    """Remove differences of case and of Unicode encoding."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


COMMON_PASSWORDS = frozenset(
    gzip.decompress(files("services.auth.domain").joinpath("common_passwords.txt.gz").read_bytes())
    .decode()
    .splitlines()
)
