"""The changes of an exchange in order, and the ids of its orders and executions."""

from uuid import UUID, uuid5

from sandbox.bybit.exchange.rows import Change, ExecutionRow, OrderRow, PositionRow, Topic, WalletRow

_IDS = UUID("6f1d3b0e-8a57-4c07-9a63-1f0a3f5a2b11")


class Journal:
    """`at_ms` is the time of the call that is being handled."""

    def __init__(self) -> None:
        self.at_ms = 0
        self.seq = 0
        self._ids = 0
        self._changes: list[Change] = []

    def next_id(self) -> str:
        """Return an id that looks random, and is the same in each run."""
        self._ids += 1
        return str(uuid5(_IDS, str(self._ids)))

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def publish(self, uid: str, topic: Topic, row: OrderRow | ExecutionRow | PositionRow | WalletRow) -> None:
        self._changes.append(Change(uid, topic, row, self.next_seq(), self.at_ms))

    def take(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes
