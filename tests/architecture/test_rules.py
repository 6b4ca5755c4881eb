"""The rules find their faults, and the code breaks none of them."""

import subprocess
from pathlib import Path

import pytest

from tests.architecture.rules import faults_of
from tests.scheduling import GROUPS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/billing/domain.py", "x = float('1.5')\n"),
        ("services/billing/domain.py", "try:\n    pass\nexcept Exception:\n    pass\n"),
        ("services/billing/domain.py", "try:\n    pass\nexcept:\n    pass\n"),
        ("cli/up.py", "from datetime import datetime\nx = datetime.now()\n"),
        ("services/auth/utils.py", "x = 1\n"),
        ("services/auth/domain.py", "x = 1  # TO" + "DO: later\n"),
        ("services/auth/domain.py", "def f():\n" + "    x = 1\n" * 71),
        ("sandbox/bybit/exchange/orders.py", "import asyncio\n"),
        ("sandbox/bybit/exchange/orders.py", "from sandbox.bybit.ledger import Ledger\n"),
        ("services/trading/orders/planner.py", "from shared.chassis.postgres import Database\n"),
        ("services/trading/orders/actor.py", "from services.trading.exchange.bybit_venue import BybitVenue\n"),
        ("shared/chassis/http/app.py", "x = 1\n" * 501),
        ("tests/unit/test_x.py", "x = 1\n" * 601),
    ],
)
def test_each_rule_finds_its_fault(path: str, source: str) -> None:
    assert list(faults_of(path, source))


def test_the_code_breaks_no_rule() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    files = [file for file in listed if (ROOT / file).exists()]
    faults = [
        fault for file in files if (ROOT / file).exists() for fault in faults_of(file, (ROOT / file).read_text())
    ]
    assert not faults, "\n".join(faults)


def test_no_service_asks_whether_it_is_a_demo() -> None:
    for file in (ROOT / "services").rglob("*.py"):
        assert "if sandbox" not in file.read_text(), file
        assert "if demo" not in file.read_text(), file


def test_the_readme_of_every_service_says_what_it_owns() -> None:
    for service in ("auth", "billing", "trading", "analytics", "notifications"):
        text = (ROOT / "services" / service / "README.md").read_text()
        for word in ("own", "ublishe", "onsume", "ettings", "not"):
            assert word.lower() in text.lower(), f"{service} does not say: {word}"


def test_the_lock_names_no_host_and_has_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    assert lock.count("==") <= lock.count("--hash=sha256:")


def test_pandas_and_polars_are_not_installed_with_the_services() -> None:
    """TA-Lib would import them into every service: a third of its start time and memory."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "\npandas==" not in lock
    assert "\npolars==" not in lock


def test_the_tests_with_a_fixed_order_exist() -> None:
    assert [place for place in GROUPS if not (ROOT / place).exists()] == []
