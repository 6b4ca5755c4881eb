"""The folder of the contract's cases beside the checkout, and the number of cases missing without it."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
DATA = SHARED / "data"
CASES = sorted((SHARED / "examples").glob("*.json"))
KNOWN_CASES = 7


def not_collected() -> str | None:
    """Return the line to print when cases are missing, otherwise None."""
    missing = KNOWN_CASES - len(CASES)
    if missing <= 0:
        return None
    return f"{missing} strategy cases are not collected: {SHARED / 'examples'} is not there"
