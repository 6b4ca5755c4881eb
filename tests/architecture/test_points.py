"""Each named fault point is at exactly one place in the code, and cannot be switched on in production."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shared.chassis import crash_points
from stack.migrate import ROOT

CALL = re.compile(r'\bpoint\("([^"]*)"\)')


def test_every_listed_point_is_in_the_code_once() -> None:
    files = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")]
    found = Counter(name for file in files for name in CALL.findall(file.read_text()))
    assert found == Counter(crash_points.POINTS)


def test_production_refuses_to_switch_them_on(tmp_path: Path) -> None:
    dsns = ("POSTGRES_APP_DSN", "POSTGRES_WORKER_DSN", "POSTGRES_QUEUE_DSN", "KAFKA_BOOTSTRAP")
    run = subprocess.run(
        [sys.executable, "-m", "services.billing"],
        env={**dict.fromkeys(dsns, "x"), "FAULT_POINTS": str(tmp_path), "ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "FAULT_POINTS cannot be set where ENVIRONMENT is production\n"


STRIKE = """
import sys
from pathlib import Path
from shared.chassis import crash_points
crash_points.switch_on(Path(sys.argv[1]), "billing-relay")
for _ in range(5):
    crash_points.point("relay.after_rows_read")
    crash_points.point("relay.after_ack")
    print("sent", flush=True)
"""


@pytest.mark.parametrize(("armed", "sent"), [("relay.after_ack KILL 3", 2), ("inbox.after_rows KILL 1", 5)])
def test_an_armed_point_kills_at_its_nth_hit(tmp_path: Path, armed: str, sent: int) -> None:
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / "billing-relay").write_text(armed)
    run = subprocess.run(
        [sys.executable, "-c", STRIKE, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.stdout.count("sent") == sent
    fired = [file.read_text() for file in (tmp_path / "fired").iterdir()]
    assert fired == ([armed] if run.returncode == -9 else [])
    (hits,) = (tmp_path / "hits").iterdir()
    counted = Counter(crash_points.POINTS[index] for index in hits.read_bytes())
    assert counted["relay.after_rows_read"] == min(sent + 1, 5)
