"""The state of an execution between steps, and its JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import NamedTuple, cast

from shared.contracts.types import decimal_text
from shared.strategy.bars import Instrument, Side
from shared.strategy.decimals import ZERO
from shared.strategy.execution.outcome import Position, Reason, Target

SNAPSHOT_VERSION = 1


class PendingEntry(NamedTuple):
    """An entry for the next open. Distances are those computed from indicators at the decision bar."""

    side: Side
    qty: Decimal
    stop_distance: Decimal | None
    target_distances: tuple[Decimal, ...]


@dataclass(slots=True)
class Day:
    """A UTC day by the bars' open times: the equity at its start, and the pnl of its trades."""

    number: int | None
    equity: Decimal
    pnl: Decimal = ZERO
    stopped: bool = False


@dataclass(slots=True)
class State:
    """`opened_ms` and `closed_ms` are open times: of the last bar with step 1 done, and with steps 2 and 3 done."""

    equity: Decimal
    opened_ms: int | None = None
    closed_ms: int | None = None
    cooldown: int = 0
    day: Day = field(default_factory=lambda: Day(None, ZERO))
    pending_exit: Reason | None = None
    pending_entry: PendingEntry | None = None
    position: Position | None = None


def dump(state: State, strategy_hash: str) -> dict[str, object]:
    """Return the state as JSON values, decimals as plain strings."""
    entry = state.pending_entry
    return {
        "version": SNAPSHOT_VERSION,
        "strategy": strategy_hash,
        "equity": decimal_text(state.equity),
        "opened_ms": state.opened_ms,
        "closed_ms": state.closed_ms,
        "cooldown": state.cooldown,
        "day": _dump_day(state.day),
        "pending_exit": state.pending_exit,
        "pending_entry": None if entry is None else _dump_entry(entry),
        "position": None if state.position is None else _dump_position(state.position),
    }


def load(snapshot: Mapping[str, object], strategy_hash: str) -> State:
    """Return the state of a snapshot. Raises ValueError if it has another version or strategy."""
    if snapshot.get("version") != SNAPSHOT_VERSION:
        raise ValueError(f"snapshot version {snapshot.get('version')} is not {SNAPSHOT_VERSION}")
    if snapshot.get("strategy") != strategy_hash:
        raise ValueError("the snapshot is of another strategy")
    read = _Members(snapshot)
    day, entry, position = (read.members(name) for name in ("day", "pending_entry", "position"))
    assert day is not None
    return State(
        equity=read.decimal("equity"),
        opened_ms=read.optional_integer("opened_ms"),
        closed_ms=read.optional_integer("closed_ms"),
        cooldown=read.integer("cooldown"),
        day=Day(day.optional_integer("number"), day.decimal("equity"), day.decimal("pnl"), day.flag("stopped")),
        pending_exit=read.optional_reason("pending_exit"),
        pending_entry=None if entry is None else _pending_entry(entry),
        position=None if position is None else _position(position),
    )


def dump_instruments(entries: Instrument, position: Instrument) -> dict[str, object]:
    """Return the JSON form of the instrument for new entries and of the one that the open position uses."""
    return {
        "instruments": [
            {each.name: decimal_text(getattr(instrument, each.name)) for each in fields(Instrument)}
            for instrument in (entries, position)
        ]
    }


def load_instruments(snapshot: Mapping[str, object]) -> list[Instrument] | None:
    """Return the instruments for new entries and for the position; None if they are the instrument of the terms."""
    raw = cast("list[Mapping[str, str]] | None", snapshot.get("instruments"))
    if raw is None:
        return None
    return [Instrument(**{name: Decimal(text) for name, text in each.items()}) for each in raw]


def _pending_entry(read: "_Members") -> PendingEntry:
    return PendingEntry(
        read.side(),
        read.decimal("qty"),
        read.optional_decimal("stop_distance"),
        tuple(Decimal(text) for text in cast("list[str]", read.raw["target_distances"])),
    )


def _position(read: "_Members") -> Position:
    targets = [_Members(each) for each in cast("list[Mapping[str, object]]", read.raw["targets"])]
    return Position(
        side=read.side(),
        entry_time=read.integer("entry_time"),
        entry_price=read.decimal("entry_price"),
        qty=read.decimal("qty"),
        left=read.decimal("left"),
        gross=read.decimal("gross"),
        fees=read.decimal("fees"),
        closed_notional=read.decimal("closed_notional"),
        stop=read.optional_decimal("stop"),
        trail=read.optional_decimal("trail"),
        extreme=read.decimal("extreme"),
        targets=tuple(
            Target(each.optional_decimal("price"), each.decimal("qty"), each.flag("takes_rest")) for each in targets
        ),
        spent=read.integer("spent"),
        bars=read.integer("bars"),
    )


def _dump_day(day: Day) -> dict[str, object]:
    return {
        "number": day.number,
        "equity": decimal_text(day.equity),
        "pnl": decimal_text(day.pnl),
        "stopped": day.stopped,
    }


def _dump_entry(entry: PendingEntry) -> dict[str, object]:
    return {
        "side": entry.side,
        "qty": decimal_text(entry.qty),
        "stop_distance": _optional_text(entry.stop_distance),
        "target_distances": [decimal_text(each) for each in entry.target_distances],
    }


def _dump_position(position: Position) -> dict[str, object]:
    return {
        "side": position.side,
        "entry_time": position.entry_time,
        "entry_price": decimal_text(position.entry_price),
        "qty": decimal_text(position.qty),
        "left": decimal_text(position.left),
        "gross": decimal_text(position.gross),
        "fees": decimal_text(position.fees),
        "closed_notional": decimal_text(position.closed_notional),
        "stop": _optional_text(position.stop),
        "trail": _optional_text(position.trail),
        "extreme": decimal_text(position.extreme),
        "targets": [
            {"price": _optional_text(each.price), "qty": decimal_text(each.qty), "takes_rest": each.takes_rest}
            for each in position.targets
        ],
        "spent": position.spent,
        "bars": position.bars,
    }


def _optional_text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)


@dataclass(frozen=True, slots=True)
class _Members:
    """Typed access to an object of a snapshot. Trusted, because we wrote it."""

    raw: Mapping[str, object]

    def decimal(self, name: str) -> Decimal:
        return Decimal(cast(str, self.raw[name]))

    def optional_decimal(self, name: str) -> Decimal | None:
        return None if self.raw[name] is None else self.decimal(name)

    def integer(self, name: str) -> int:
        return cast(int, self.raw[name])

    def optional_integer(self, name: str) -> int | None:
        return cast("int | None", self.raw[name])

    def flag(self, name: str) -> bool:
        return cast(bool, self.raw[name])

    def side(self) -> Side:
        return cast(Side, self.raw["side"])

    def optional_reason(self, name: str) -> Reason | None:
        return cast("Reason | None", self.raw[name])

    def members(self, name: str) -> "_Members | None":
        raw = self.raw[name]
        return None if raw is None else _Members(cast("Mapping[str, object]", raw))
