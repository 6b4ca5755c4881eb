import re
from pathlib import Path

import pytest

from shared.strategy.document.parse import parse_json, parse_strategy
from shared.strategy.indicators.recipes import KINDS

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples/strategies").glob("*.json"))
PAGE = (ROOT / "docs/strategy.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_has_the_name_of_its_file(path: Path) -> None:
    assert parse_strategy(parse_json(path.read_bytes())).name == path.stem


def test_the_examples_cover_every_side() -> None:
    assert {parse_strategy(parse_json(path.read_bytes())).side for path in EXAMPLES} == {"LONG", "SHORT", "BOTH"}


def test_the_document_on_the_page_is_the_example() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert parse_json(shown[1]) == parse_json((ROOT / "examples/strategies/ema-cross.json").read_bytes())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_indicator_is_on_the_page(kind: str) -> None:
    assert f"`{kind}`" in PAGE
