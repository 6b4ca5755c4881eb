"""The append-only record of every request, with its outcome and the answer that the client got, and of every
change of an order and every execution. Secrets, keys and signatures are not part of it."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from pathlib import Path
from typing import TextIO

from sandbox.bybit.messages import Json

KEPT_ENTRIES = 200_000  # in memory; the file has all


class Ledger:
    """Entries have a `seq`, a `kind` ("request", "order", "execution", "fault") and fields by kind."""

    def __init__(self, file: Path | None = None, kept: int = KEPT_ENTRIES) -> None:
        """Raises OSError if the file cannot be written."""
        self._entries: deque[Json] = deque(maxlen=kept)
        self._seq = 0
        self._file: TextIO | None = file.open("a", encoding="utf-8") if file else None

    def add(self, kind: str, entry: Mapping[str, object]) -> Json:
        self._seq += 1
        row: Json = {**entry, "seq": self._seq, "kind": kind}  # an execution has a `seq` of its own
        self._entries.append(row)
        if self._file is not None:
            self._file.write(json.dumps(row, default=str) + "\n")
            self._file.flush()
        return row

    def select(self, filters: Mapping[str, str], since: int = 0, limit: int = KEPT_ENTRIES) -> list[Json]:
        """Return the last `limit` entries after `since` whose fields equal the filters, oldest first."""
        return list(islice(self._matching(filters, since), limit))[::-1]

    def _matching(self, filters: Mapping[str, str], since: int) -> Iterator[Json]:
        """Yield the entries after `since`, newest first."""
        newer = takewhile(lambda entry: int(str(entry["seq"])) > since, reversed(self._entries))
        return (
            entry for entry in newer if all(str(entry.get(name, "")) == value for name, value in filters.items())
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
