"""Conditions of many alerts on one series: compiled and evaluated once, however many alerts share them."""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.notifications.domain.conditions import AlertType, ConditionFault, Raw, compile_alert
from services.notifications.domain.firing import ClosedBar, Firing, Timing, firing_bars, value_seen
from shared.strategy.conditions.rising_edge import (
    ThresholdCondition,
    as_threshold,
    find_rising_edges,
    find_threshold_edges,
)
from shared.strategy.document.parse import AlertCondition
from shared.strategy.series import Series

MAX_COMPILED = 50_000


@dataclass(frozen=True, slots=True)
class _Compiled:
    alert: AlertCondition
    threshold: ThresholdCondition | None


class CompiledConditions:
    """Cache of compiled conditions by hash. The entry of a condition that does not compile is None."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, _Compiled | None] = OrderedDict()

    def __contains__(self, condition_hash: bytes) -> bool:
        return condition_hash in self._compiled

    def compile(self, condition_hash: bytes, alert_type: AlertType, data: Raw) -> None:
        """Compile and cache a condition. Raises ConditionFault, after which the condition counts as never true."""
        try:
            alert = compile_alert(alert_type, data)
        except ConditionFault:
            self._compiled[condition_hash] = None
            raise
        self._compiled[condition_hash] = _Compiled(alert, as_threshold(alert.condition))

    def get(self, condition_hash: bytes) -> _Compiled | None:
        return self._compiled.get(condition_hash)

    def evict_oldest(self) -> None:
        """Evict entries beyond the limit. Must not run during an evaluation, which needs its conditions cached."""
        while len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)


class ConditionPass:
    """Evaluates conditions on bars of one series, and remembers the bars at which each became true."""

    def __init__(self, conditions: CompiledConditions, series: Series, bars: Sequence[ClosedBar]) -> None:
        self.conditions = conditions
        self._series = series
        self._bars: Mapping[int, ClosedBar] = {bar.index: bar for bar in bars}
        self._range = (bars[0].index, bars[-1].index + 1)
        self._true_at: dict[bytes, Sequence[ClosedBar]] = {}

    @property
    def closed_at(self) -> datetime:
        """The time at which the last bar closed."""
        return self._bars[self._range[1] - 1].closed_at

    def came_true(self, hashes: Collection[bytes]) -> list[bytes]:
        """Return the conditions that became true at one or more of the bars. All of them must be compiled."""
        self._evaluate([each for each in hashes if each not in self._true_at])
        return [each for each in hashes if self._true_at[each]]

    def firings(self, condition_hash: bytes, timing: Timing) -> list[Firing]:
        """Return the firings of an alert with this condition and timing."""
        self.came_true([condition_hash])
        compiled = self.conditions.get(condition_hash)
        if compiled is None:
            return []
        return [
            Firing(bar, value_seen(compiled.alert, self._series, bar.index))
            for bar in firing_bars(timing, self._true_at[condition_hash])
        ]

    def _evaluate(self, hashes: Sequence[bytes]) -> None:
        self._true_at.update(dict.fromkeys(hashes, ()))
        groups: dict[str, dict[bytes, ThresholdCondition]] = defaultdict(dict)
        for each in hashes:
            compiled = self.conditions.get(each)
            if compiled is None:
                continue
            if compiled.threshold is None:
                self._record(each, find_rising_edges(compiled.alert.condition, self._series, *self._range))
            else:
                groups[compiled.threshold.group_key][each] = compiled.threshold
        for group in groups.values():
            names = list(group)
            for which, index in find_threshold_edges(list(group.values()), self._series, *self._range):
                self._record(names[which], [index])

    def _record(self, condition_hash: bytes, indices: Sequence[int]) -> None:
        """Bars that were not published count for the indicators but fire no alert."""
        bars = [self._bars[index] for index in indices if index in self._bars]
        self._true_at[condition_hash] = [*self._true_at[condition_hash], *bars]
