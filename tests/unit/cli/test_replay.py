"""The demo waits for sessions that lag behind as long as any of them makes progress."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.demo import replay
from cli.demo.replay import Replay
from stack.failure import CheckFailed

STATE = {"symbols": {"BTCUSDT": {"last_closed_ms": 60_000, "open_ms": None}}}


class Sessions:
    """Answers how many sessions lag, and where they are: one position after another, then the last for ever."""

    def __init__(self, positions: Sequence[int], *, ends: bool) -> None:
        self._positions = list(positions)
        self._ends = ends

    async def fetchval(self, query: str, *_: object) -> int:
        if query == replay.WAITING:
            return 1 if self._positions[1:] or not self._ends else 0
        return self._positions.pop(0) if self._positions[1:] else self._positions[0]


def replay_of(sessions: Sessions) -> Replay:
    unused: Any = cast(Any, None)  # Any: no HTTP here
    stack: Any = SimpleNamespace(home=Path("home"))  # Any: only its folder is used
    owner: Any = sessions  # Any: stands in for asyncpg's connection
    return Replay(stack, unused, "", owner)


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "STALL_TIMEOUT_S", 0.02)


async def test_slow_sessions_are_waited_for_while_they_make_progress() -> None:
    demo = replay_of(Sessions(range(20), ends=True))
    await demo._wait_for_sessions(STATE)
    assert demo.progress.behind == 0


async def test_sessions_that_make_no_progress_are_reported_with_the_logs() -> None:
    with pytest.raises(CheckFailed, match="1 sessions make no progress at None; the logs are in home"):
        await replay_of(Sessions([1, 2, 3], ends=False))._wait_for_sessions(STATE)
