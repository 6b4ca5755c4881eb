"""The order of a list: by a time and then by an id, either way; a page goes on after the last one's."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

After = tuple[datetime, UUID] | None


@dataclass(frozen=True)
class Order:
    """`column` is one of ours, never a client's text."""

    column: str
    descending: bool = False

    def by(self, id_column: str) -> str:
        direction = "DESC" if self.descending else "ASC"
        return f"{self.column} {direction}, {id_column} {direction}"

    def beyond(self, id_column: str, first: int) -> str:
        """A condition on the parameters `first` and the next: the time and the id of the row before the page."""
        sign = "<" if self.descending else ">"
        place = f"${first}::timestamptz"
        return f"({place} IS NULL OR ({self.column}, {id_column}) {sign} ({place}, ${first + 1}::uuid))"
