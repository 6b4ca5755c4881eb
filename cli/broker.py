"""What commands share that ask the broker as its operator."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
from aiokafka.errors import KafkaError

from cli.failure import BadInput
from cli.target import Whereabouts, home_option

PATIENCE_S = 60.0

T = TypeVar("T")


def where_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which broker, and how to answer."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        home_option,
        click.option("--prefix", default=None, help="Before every topic's name, where a broker is shared."),
        click.option("--bootstrap", default="", help="The broker's address."),
    ):
        command = option(command)
    return command


def ask(at: Whereabouts, question: Coroutine[Any, Any, T]) -> T:
    """The broker's answer. Raises BadInput."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await question

    try:
        return asyncio.run(bounded())
    except (KafkaError, TimeoutError, OSError) as error:
        raise BadInput(f"Kafka at {at.kafka} does not do it: {error!r}") from error
