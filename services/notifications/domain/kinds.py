"""Kinds of notifications, and the preferences for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Category = Literal["ALERT", "TRADING", "SYSTEM", "BILLING"]
Severity = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]
Kind = Literal[
    "ALERT_TRIGGERED",
    "SESSION_STARTED",
    "SESSION_STOPPED",
    "SESSION_ALARMED",
    "EXCHANGE_ACCOUNT_ALARMED",
    "TRADE_OPENED",
    "TRADE_CLOSED",
    "SUBSCRIPTION_CHANGED",
    "USAGE_THRESHOLD",
]
# The event types in an inbox. A digest counts several notices of one kind.
EventType = Literal[Kind, "DIGEST"]
InboxChannel = Literal["dashboard"]  # the implemented ones of shared.contracts.notifications.Channel

KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CHANNELS: tuple[InboxChannel, ...] = get_args(InboxChannel)


class Preference(BaseModel):
    """The channels that deliver a kind, and the lowest severity to deliver. Without channels it is switched off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[InboxChannel, ...] = ("dashboard",)
    severity_floor: Severity = "INFO"

    def accepts(self, severity: Severity, channel: InboxChannel) -> bool:
        return channel in self.channels and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity_floor)


ON_BY_DEFAULT, OFF_BY_DEFAULT = Preference(), Preference(channels=())


@dataclass(frozen=True)
class KindRules:
    """The rules of a kind, the same for all users. `default` applies where a user has no preference."""

    category: Category
    default: Preference


# A bot may trade a hundred times a day, so notifications of trades are opt-in.
KIND_RULES: Mapping[Kind, KindRules] = {
    "ALERT_TRIGGERED": KindRules("ALERT", ON_BY_DEFAULT),
    "SESSION_STARTED": KindRules("TRADING", ON_BY_DEFAULT),
    "SESSION_STOPPED": KindRules("TRADING", ON_BY_DEFAULT),
    "SESSION_ALARMED": KindRules("TRADING", ON_BY_DEFAULT),
    "EXCHANGE_ACCOUNT_ALARMED": KindRules("TRADING", ON_BY_DEFAULT),
    "TRADE_OPENED": KindRules("TRADING", OFF_BY_DEFAULT),
    "TRADE_CLOSED": KindRules("TRADING", OFF_BY_DEFAULT),
    "SUBSCRIPTION_CHANGED": KindRules("BILLING", ON_BY_DEFAULT),
    "USAGE_THRESHOLD": KindRules("BILLING", ON_BY_DEFAULT),
}


def read_preferences(stored: Mapping[str, object]) -> dict[Kind, Preference]:
    """Parse stored preferences. Unknown kinds and channels are ignored: a newer version may have written them."""
    return {kind: _read_preference(raw) for kind in KINDS if isinstance(raw := stored.get(kind), Mapping)}


def _read_preference(raw: Mapping[str, object]) -> Preference:
    channels, floor = raw.get("channels", CHANNELS), raw.get("severity_floor")
    known = channels if isinstance(channels, list | tuple) else ()
    return Preference(
        channels=tuple(channel for channel in CHANNELS if channel in known),
        severity_floor=next((severity for severity in SEVERITIES if severity == floor), "INFO"),
    )


def preference_of(kind: Kind, preferences: Mapping[Kind, Preference]) -> Preference:
    return preferences.get(kind, KIND_RULES[kind].default)


def more_severe(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=SEVERITIES.index)
