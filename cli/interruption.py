"""Ctrl-C, once or often, ends a command in order: the first stops its work, the others change nothing."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cancel_on_signals() -> asyncio.Event:
    """Have the first signal cancel the running task; the event is set then. Later signals are ignored.

    Without it asyncio raises KeyboardInterrupt at the second Ctrl-C, wherever the cleanup is at that moment.
    """
    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None, "called from a coroutine"
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        stop.set()
        task.cancel()
        with suppress(OSError):  # the reader of our output is gone
            click.echo("stopping", err=True)

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)
    return stop


@contextmanager
def signals_ignored() -> Iterator[None]:
    """For a cleanup that must come to its end."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
