"""Every module that inserts into a queue calls `note_filled`, without which the reader waits up to a second."""

from pathlib import Path

import pytest

from stack.migrate import ROOT

QUEUES = {"outbox": "INTO outbox", "demand": "INTO market_interests"}


def unnoted(sources: dict[str, str], queue: str) -> list[str]:
    """Return the modules that insert into the queue and never note it."""
    inserting = (name for name, source in sources.items() if QUEUES[queue] in source)
    return [name for name in inserting if f'note_filled("{queue}")' not in sources[name]]


@pytest.mark.parametrize("queue", QUEUES)
def test_every_module_that_fills_a_queue_notes_it(queue: str) -> None:
    modules = [module for folder in ("services", "shared") for module in Path(ROOT, folder).rglob("*.py")]
    assert unnoted({str(module.relative_to(ROOT)): module.read_text() for module in modules}, queue) == []


def test_a_module_that_does_not_note_it_is_found() -> None:
    insert = 'await connection.execute("INSERT INTO outbox VALUES ($1)", 1)'
    sources = {"a.py": insert, "b.py": f'connection.note_filled("outbox")\n{insert}', "c.py": "SELECT 1"}
    assert unnoted(sources, "outbox") == ["a.py"]
