"""docs/tour.md, run by a shell exactly as the page shows: from sign-up to a first result."""

import re
import subprocess
from pathlib import Path

from stack.migrate import ROOT
from tests.integration.stack.commands import status
from tests.pace import patient

TOUR = ROOT / "docs" / "tour.md"


def test_the_tour_leads_from_sign_up_to_a_result(shared: Path) -> None:
    steps = "\n".join(re.findall(r"```sh\n(.*?)```", TOUR.read_text(), flags=re.DOTALL))
    assert "http://localhost:8080" in steps
    script = "set -eu\n" + steps.replace("http://localhost:8080", status(shared)["gateway"])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=patient(150))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for wanted in ('"status":"DONE"', '"fingerprint"', '"status":"STOPPED"', '"ending_balance"', '"meters"'):
        assert wanted in done.stdout
