"""Field types shared by the request bodies."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.auth.domain.passwords import LONGEST_PASSWORD, check_new_password
from shared.contracts.time_zones import ZoneName

# Input longer than any password is refused before it is normalized.
Password = Annotated[SecretStr, Field(max_length=2 * LONGEST_PASSWORD)]
TimeZone = Annotated[ZoneName, Field(max_length=64)]


def _check_new_password(password: SecretStr) -> SecretStr:
    return SecretStr(check_new_password(password.get_secret_value()))


NewPassword = Annotated[Password, AfterValidator(_check_new_password)]
