"""Which passwords an account may have. (NOTICE: where the list of the commonest ones is from.)"""

import gzip
import unicodedata
from importlib.resources import files

from shared.contracts.texts import is_drawn

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024


def check_password(text: str) -> str:
    """A password in the form in which it is hashed (NFC). Raises ValueError."""
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    password = unicodedata.normalize("NFC", text)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return password


def check_new_password(text: str) -> str:
    """The same, for one that is being set. Raises ValueError for what everybody tries first."""
    password = check_password(text)
    seen = "".join(filter(is_drawn, _fold(password)))
    if not seen:
        raise ValueError("must not consist of blanks alone")
    if seen in COMMON_PASSWORDS or _fold(password).strip() in COMMON_PASSWORDS:
        raise ValueError("must not be one of the commonest passwords")
    return password


def _fold(text: str) -> str:
    """Without regard to case, and to how a letter is encoded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


COMMON_PASSWORDS = frozenset(
    gzip.decompress(files("services.auth.domain").joinpath("common_passwords.txt.gz").read_bytes())
    .decode()
    .splitlines()
)
