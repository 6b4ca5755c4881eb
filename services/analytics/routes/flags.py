"""A boolean in a query string."""

from typing import Annotated

from pydantic import BeforeValidator


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("must be true or false")
        return value == "true"
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
"""`true` or `false`; other spellings such as `1` or `yes` are refused."""
