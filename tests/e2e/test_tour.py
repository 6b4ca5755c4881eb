"""docs/tour.md, run by a shell exactly as the page shows: from sign-up to a first result."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.migrate import ROOT
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)
TOUR = ROOT / "docs" / "tour.md"


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=patient(120),
    )


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # as root, Postgres runs as another user
    home = str(tmp_path / "home")
    started = command("up", "--detach", "--home", home)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        state: dict[str, Any] = json.loads(command("status", "--home", home, "--json").stdout)
        yield str(state["gateway"])
    finally:
        command("down", "--home", home, "--remove")


def test_the_tour_leads_from_sign_up_to_a_result(gateway: str) -> None:
    steps = "\n".join(re.findall(r"```sh\n(.*?)```", TOUR.read_text(), flags=re.DOTALL))
    assert "http://localhost:8080" in steps
    script = "set -eu\n" + steps.replace("http://localhost:8080", gateway)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=patient(150))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for wanted in ('"status":"DONE"', '"fingerprint"', '"status":"STOPPED"', '"ending_balance"', '"meters"'):
        assert wanted in done.stdout
