"""Where the contract's cases lie, if they are beside the checkout; how many are not collected if they are not."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
DATA = SHARED / "data"
CASES = sorted((SHARED / "examples").glob("*.json"))
KNOWN_CASES = 7


def not_collected() -> str | None:
    """The line to say where cases are missing."""
    missing = KNOWN_CASES - len(CASES)
    if missing <= 0:
        return None
    return f"{missing} strategy cases are not collected: {SHARED / 'examples'} is not there"
