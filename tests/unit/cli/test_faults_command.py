"""`tradefleet faults` refuses wrong options with one line and exit code 2, and starts nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.fault_run import faults
from stack.failure import CommandFailure


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--family", "A,Q"], '--family: "Q" is not one of A, B, C'),
        (["--family", ""], '--family: "" is not one of A, B, C'),
        (["--family", "A,B,A"], "--family: a family is given twice"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
        (["--minutes", "0"], "0.0 is not in the range x>0"),
        (["--seed", "x"], "'x' is not a valid integer"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    assert why in failure(*options)


def test_an_external_broker_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:9092")
    assert failure() == "KAFKA_BOOTSTRAP is set, but fault runs kill their broker: unset it"


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    (tmp_path / "something").touch()
    assert failure("--home", str(tmp_path)) == f"--home: {tmp_path} is not empty"


def failure(*options: str) -> str:
    done = CliRunner().invoke(faults, options, standalone_mode=False)
    assert isinstance(done.exception, CommandFailure)
    assert done.exception.exit_code == 2
    assert "\n" not in done.exception.message
    return done.exception.message
