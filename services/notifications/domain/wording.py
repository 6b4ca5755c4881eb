"""How a message is written: a language's texts, and numbers and times as its reader writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from services.notifications.domain.kinds import Kind
from shared.contracts.types import decimal_text

DEFAULT_LANGUAGE = "en"
MOST_NAMED = 5


@dataclass(frozen=True)
class Word:
    """One of a language's words; what it has none for stands as it is."""

    text: str


@dataclass(frozen=True)
class Count:
    """So many of a noun."""

    number: int
    noun: str


Value = str | int | Decimal | datetime | Word | Count


class Language(BaseModel):
    """One file of templates. `nouns` and `digests` are one and several of it, with `{number}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: str
    group: str
    moment: str  # of day, month, year, time and zone
    months: tuple[str, ...]
    words: Mapping[str, str]
    nouns: Mapping[str, tuple[str, str]]
    texts: Mapping[Kind, str]
    digests: Mapping[Kind, tuple[str, str]]
    and_more: str


@dataclass(frozen=True)
class Writer:
    """Writes to one reader."""

    language: Language
    zone: ZoneInfo

    def message(self, kind: Kind, values: Mapping[str, Value]) -> str:
        return self._filled(self.language.texts[kind], values)

    def digest(self, kind: Kind, minute: datetime, counts: Mapping[str, int]) -> str:
        """How many there were, and of what most."""
        most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        shown = [f"{what} {self.value(number)}" for what, number in most[:MOST_NAMED]]
        if len(most) > MOST_NAMED:
            shown.append(self.language.and_more)
        total = sum(counts.values())
        one, several = self.language.digests[kind]
        values: dict[str, Value] = {"number": total, "minute": minute, "counts": ", ".join(shown)}
        return self._filled(one if total == 1 else several, values)

    def value(self, value: Value) -> str:
        match value:
            case Word():
                return self.language.words.get(value.text, value.text)
            case Count():
                one, several = self.language.nouns[value.noun]
                return (one if value.number == 1 else several).format(number=self.value(value.number))
            case datetime():
                return self._moment(value)
            case int() | Decimal():
                return self._number(Decimal(value))
        return value

    def _filled(self, template: str, values: Mapping[str, Value]) -> str:
        return template.format_map({name: self.value(value) for name, value in values.items()})

    def _number(self, value: Decimal) -> str:
        """Every digit of it, with thousands apart."""
        whole, dot, fraction = decimal_text(value).partition(".")
        grouped = f"{int(whole):,}".replace(",", self.language.group)
        sign = "-" if whole.startswith("-") and not grouped.startswith("-") else ""
        return sign + grouped + (self.language.point if dot else "") + fraction

    def _moment(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        return self.language.moment.format(
            day=local.day,
            month=self.language.months[local.month - 1],
            year=local.year,
            time=local.strftime("%H:%M"),
            zone=local.tzname(),
        )
