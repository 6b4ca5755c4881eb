"""Access to a Kafka that the stack does not start: its address and login, from the environment."""

import os

from pydantic import ValidationError

from shared.chassis.events.broker_access import KafkaAccess, KafkaSettings
from stack.failure import BadInput


def kafka_from_environment(bootstrap: str = "") -> KafkaAccess | None:
    """Return Kafka from the environment; `bootstrap` overrides its address. None if neither is set.

    Raises BadInput.
    """
    if not (address := bootstrap or os.environ.get("KAFKA_BOOTSTRAP")):
        return None
    try:
        return KafkaSettings(kafka_bootstrap=address).kafka
    except ValidationError as error:
        what = error.errors()[0]
        names = ", ".join(str(part).upper() for part in what["loc"])
        raise BadInput(f"{names}: {what['msg']}" if names else what["msg"].removeprefix("Value error, ")) from error
