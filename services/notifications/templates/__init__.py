"""The languages of notification texts, one JSON file each."""

from collections.abc import Mapping
from pathlib import Path

from services.notifications.domain.wording import DEFAULT_LANGUAGE, Language, Writer
from shared.contracts.time_zones import DEFAULT_ZONE, zone_or_default

LANGUAGES: Mapping[str, Language] = {
    file.stem: Language.model_validate_json(file.read_bytes())
    for file in sorted(Path(__file__).parent.glob("*.json"))
}


def writer_for(language: str | None, zone: str | None) -> Writer:
    """Return a writer for a user. Falls back to English if the language is unknown or has no templates."""
    texts = LANGUAGES.get((language or DEFAULT_LANGUAGE).partition("-")[0].lower(), LANGUAGES[DEFAULT_LANGUAGE])
    return Writer(texts, zone_or_default(zone or DEFAULT_ZONE))
