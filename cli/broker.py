"""Options and execution shared by commands that access the broker as its operator."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
from aiokafka.errors import KafkaError

from cli.target import Target, home_option
from stack.failure import BadInput

BROKER_TIMEOUT_S = 60.0

T = TypeVar("T")


def broker_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --bootstrap, --prefix, --home and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        home_option,
        click.option("--prefix", default=None, help="Prefix of all topic names, on a shared broker."),
        click.option("--bootstrap", default="", help="The broker's address."),
    ):
        command = option(command)
    return command


def run_on_broker(target: Target, operation: Coroutine[Any, Any, T]) -> T:
    """Run an operation on the broker and return its result. Raises BadInput."""

    async def bounded() -> T:
        async with asyncio.timeout(BROKER_TIMEOUT_S):
            return await operation

    try:
        return asyncio.run(bounded())
    except (KafkaError, TimeoutError, OSError) as error:
        raise BadInput(f"Kafka at {target.kafka} failed: {error!r}") from error
