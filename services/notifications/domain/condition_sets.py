"""Conditions of many alerts on one series: each is understood once and answered once, whoever asks for it."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.notifications.domain.conditions import AlertType, ConditionFault, Raw, compile_alert
from services.notifications.domain.firing import ClosedBar, Firing, Timing, allowed, value_seen
from shared.strategy.conditions.rising_edge import ThresholdCondition, became_true, threshold_of, thresholds_reached
from shared.strategy.document.parse import AlertCondition
from shared.strategy.series import Series

MOST_KNOWN = 50_000


@dataclass(frozen=True, slots=True)
class _Known:
    alert: AlertCondition
    threshold: ThresholdCondition | None


class Conditions:
    """By their hash, each compiled once. None is kept for one that an older program let pass."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Known | None] = OrderedDict()

    def __contains__(self, condition_hash: bytes) -> bool:
        return condition_hash in self._known

    def learn(self, condition_hash: bytes, alert_type: AlertType, data: Raw) -> None:
        """Raises ConditionFault, and knows from then on that it never comes true."""
        try:
            alert = compile_alert(alert_type, data)
        except ConditionFault:
            self._known[condition_hash] = None
            raise
        self._known[condition_hash] = _Known(alert, threshold_of(alert.condition))

    def get(self, condition_hash: bytes) -> _Known | None:
        return self._known.get(condition_hash)

    def forget_oldest(self) -> None:
        """Down to the most that are kept, while none of them is being asked for."""
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


class ConditionPass:
    """Bars of one series that are worked together, and what came true at them."""

    def __init__(self, conditions: Conditions, series: Series, bars: Sequence[ClosedBar]) -> None:
        self.conditions = conditions
        self._series = series
        self._bars: Mapping[int, ClosedBar] = {bar.index: bar for bar in bars}
        self._range = (bars[0].index, bars[-1].index + 1)
        self._came: dict[bytes, list[ClosedBar]] = {}

    def came_true(self, hashes: Collection[bytes]) -> list[bytes]:
        """Those that did at one of the bars at least. All of them are known."""
        self._answer([each for each in hashes if each not in self._came])
        return [each for each in hashes if self._came[each]]

    def firings(self, condition_hash: bytes, timing: Timing) -> list[Firing]:
        """Where an alert with this condition fires."""
        self.came_true([condition_hash])
        known = self.conditions.get(condition_hash)
        if known is None:
            return []
        return [
            Firing(bar, value_seen(known.alert, self._series, bar.index))
            for bar in allowed(timing, self._came[condition_hash])
        ]

    def _answer(self, hashes: Sequence[bytes]) -> None:
        alike: dict[str, tuple[list[bytes], list[ThresholdCondition]]] = {}
        for each in hashes:
            known = self.conditions.get(each)
            self._came[each] = []
            if known is None:
                continue
            if known.threshold is None:
                self._note(each, became_true(known.alert.condition, self._series, *self._range))
            else:
                names, thresholds = alike.setdefault(known.threshold.likeness, ([], []))
                names.append(each)
                thresholds.append(known.threshold)
        for names, thresholds in alike.values():
            for which, index in thresholds_reached(thresholds, self._series, *self._range):
                self._note(names[which], [index])

    def _note(self, condition_hash: bytes, indices: Sequence[int]) -> None:
        """Bars that were not announced count for the indicators and fire nothing."""
        self._came[condition_hash] += [self._bars[index] for index in indices if index in self._bars]
