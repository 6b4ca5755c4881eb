"""Formats notification texts in the reader's language, number format and time zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from services.notifications.domain.kinds import Kind
from shared.contracts.types import decimal_text

DEFAULT_LANGUAGE = "en"
MAX_COUNTS_SHOWN = 5


@dataclass(frozen=True)
class Word:
    """A key of `Language.words`; a key without an entry is shown as it is."""

    text: str


@dataclass(frozen=True)
class Count:
    """A number and its noun, e.g. "3 trades"."""

    number: int
    noun: str


Value = str | int | Decimal | datetime | Word | Count


class Language(BaseModel):
    """One file of templates. `nouns` and `digests` have a singular and a plural text, with `{number}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: str
    group: str
    moment: str  # with {day}, {month}, {year}, {time} and {zone}
    months: tuple[str, ...]
    words: Mapping[str, str]
    nouns: Mapping[str, tuple[str, str]]
    texts: Mapping[Kind, str]
    digests: Mapping[Kind, tuple[str, str]]
    and_more: str


@dataclass(frozen=True)
class Writer:
    """Formats texts for one language and time zone."""

    language: Language
    zone: ZoneInfo

    def message(self, kind: Kind, values: Mapping[str, Value]) -> str:
        return self._fill(self.language.texts[kind], values)

    def digest(self, kind: Kind, minute: datetime, counts: Mapping[str, int]) -> str:
        """Return the text of a digest: the total, and the highest counts by name."""
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        shown = [f"{name} {self.value(number)}" for name, number in ranked[:MAX_COUNTS_SHOWN]]
        if len(ranked) > MAX_COUNTS_SHOWN:
            shown.append(self.language.and_more)
        total = sum(counts.values())
        singular, plural = self.language.digests[kind]
        values: dict[str, Value] = {"number": total, "minute": minute, "counts": ", ".join(shown)}
        return self._fill(singular if total == 1 else plural, values)

    def value(self, value: Value) -> str:
        match value:
            case Word():
                return self.language.words.get(value.text, value.text)
            case Count():
                singular, plural = self.language.nouns[value.noun]
                return (singular if value.number == 1 else plural).format(number=self.value(value.number))
            case datetime():
                return self._format_time(value)
            case int() | Decimal():
                return self._format_number(Decimal(value))
        return value

    def _fill(self, template: str, values: Mapping[str, Value]) -> str:
        return template.format_map({name: self.value(value) for name, value in values.items()})

    def _format_number(self, value: Decimal) -> str:
        """Return all digits of the number, with thousands separated."""
        whole, dot, fraction = decimal_text(value).partition(".")
        grouped = f"{int(whole):,}".replace(",", self.language.group)
        sign = "-" if whole.startswith("-") and not grouped.startswith("-") else ""
        return sign + grouped + (self.language.point if dot else "") + fraction

    def _format_time(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        return self.language.moment.format(
            day=local.day,
            month=self.language.months[local.month - 1],
            year=local.year,
            time=local.strftime("%H:%M"),
            zone=local.tzname(),
        )
