"""What there is to tell, and who wants to hear it."""

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
    "TRADE_OPENED",
    "TRADE_CLOSED",
    "SUBSCRIPTION_CHANGED",
    "USAGE_THRESHOLD",
]
# What an inbox holds: a digest counts several of a kind.
EventType = Literal[Kind, "DIGEST"]
InboxChannel = Literal["dashboard"]  # those that exist, of shared.contracts.notifications.Channel

KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CHANNELS: tuple[InboxChannel, ...] = get_args(InboxChannel)


class Preference(BaseModel):
    """How a kind is told: nowhere without a channel, and nothing below the floor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[InboxChannel, ...] = ("dashboard",)
    severity_floor: Severity = "INFO"

    def wants(self, severity: Severity, channel: InboxChannel) -> bool:
        return channel in self.channels and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity_floor)


TOLD, NOT_TOLD = Preference(), Preference(channels=())


@dataclass(frozen=True)
class KindRules:
    """What a kind is, whoever hears it."""

    category: Category
    unless_said: Preference


# A bot may trade a hundred times a day: whoever wants to hear of each says so.
OF_KIND: Mapping[Kind, KindRules] = {
    "ALERT_TRIGGERED": KindRules("ALERT", TOLD),
    "SESSION_STARTED": KindRules("TRADING", TOLD),
    "SESSION_STOPPED": KindRules("TRADING", TOLD),
    "SESSION_ALARMED": KindRules("TRADING", TOLD),
    "TRADE_OPENED": KindRules("TRADING", NOT_TOLD),
    "TRADE_CLOSED": KindRules("TRADING", NOT_TOLD),
    "SUBSCRIPTION_CHANGED": KindRules("BILLING", TOLD),
    "USAGE_THRESHOLD": KindRules("BILLING", TOLD),
}


def read_preferences(stored: Mapping[str, object]) -> dict[Kind, Preference]:
    """As far as this program understands what was stored: a newer one may know more kinds and channels."""
    return {kind: _read_preference(said) for kind in KINDS if isinstance(said := stored.get(kind), Mapping)}


def _read_preference(said: Mapping[str, object]) -> Preference:
    channels, floor = said.get("channels", CHANNELS), said.get("severity_floor")
    known = channels if isinstance(channels, list | tuple) else ()
    return Preference(
        channels=tuple(channel for channel in CHANNELS if channel in known),
        severity_floor=next((severity for severity in SEVERITIES if severity == floor), "INFO"),
    )


def preference_of(kind: Kind, said: Mapping[Kind, Preference]) -> Preference:
    return said.get(kind, OF_KIND[kind].unless_said)


def graver(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=SEVERITIES.index)
