"""Template strategies: documents that a tenant can copy into a strategy of their own."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID, uuid5

from shared.strategy.document.parse import Strategy, parse_json, parse_strategy

NAMESPACE = UUID("6f1d8f0c-8b5e-5c0a-9a57-6b1f2f6f7c11")


@dataclass(frozen=True)
class Template:
    """`template_id` is derived from the file's name."""

    template_id: UUID
    strategy: Strategy


@cache
def templates() -> tuple[Template, ...]:
    """Return all templates in the order of their file names."""
    return tuple(_read(file) for file in sorted(Path(__file__).parent.glob("*.json")))


def _read(file: Path) -> Template:
    return Template(uuid5(NAMESPACE, file.stem), parse_strategy(parse_json(file.read_bytes())))


def find_template(template_id: UUID) -> Template | None:
    return next((each for each in templates() if each.template_id == template_id), None)
