"""Ctrl-C ends a command gracefully: the first signal stops its work, later ones are ignored."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cancel_on_signals() -> asyncio.Event:
    """Cancel the running task on the first signal and set the returned event. Later signals are ignored.

    Otherwise asyncio would raise KeyboardInterrupt on the second Ctrl-C, in the middle of the cleanup.
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
        with suppress(OSError):  # our output has been closed
            click.echo("stopping", err=True)

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)
    return stop


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore signals during a cleanup that must complete."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
