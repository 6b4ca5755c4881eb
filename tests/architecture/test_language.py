"""The product's docstrings, comments and pages are plain current English."""

import pytest

from stack.migrate import ROOT
from tests.architecture.language import faults_of, read

FOLDERS = ("services", "shared", "cli", "stack", "faults", "sandbox")
PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))


def test_the_product_is_written_in_plain_english() -> None:
    texts = [*read(ROOT, FOLDERS), *((page, (ROOT / page).read_text()) for page in PAGES)]
    assert [fault for path, text in texts for fault in faults_of(path, text)] == []


@pytest.mark.parametrize(
    "source",
    [
        '"""What is kept of a login."""',
        "x = 1  # whoever asks gets it",
        'def f() -> None:\n    """Tell him that it goes on."""',
        "class C:\n    # is said once\n    pass",
    ],
)
def test_what_reads_badly_is_found(source: str) -> None:
    assert faults_of("x.py", source) != []


def test_code_is_no_prose() -> None:
    assert faults_of("x.py", '"""Set `his_told`."""\nheard = "said"  # `said`') == []
    assert faults_of("x.md", "```\nwhoever said\n```\n`heard` is a table") == []
