"""What several of these routes take."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.auth.domain.accounts import LONGEST_PASSWORD, check_password, check_timezone

# Longer input than any password is refused before it is looked at more closely.
Password = Annotated[SecretStr, Field(max_length=2 * LONGEST_PASSWORD)]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(check_timezone)]


def _check_new_password(password: SecretStr) -> SecretStr:
    return SecretStr(check_password(password.get_secret_value()))


NewPassword = Annotated[Password, AfterValidator(_check_new_password)]
