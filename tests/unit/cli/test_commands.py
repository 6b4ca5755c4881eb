"""Exit codes of the command line, and one line for each error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import COMMANDS
from cli.openapi import openapi_command
from stack.migrate import ROOT


def tradefleet(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["up", "--nonsense"], ["up", "--port", "x"], ["backtest"], ["status", "extra"]],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    done = tradefleet(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("tradefleet: ")


@pytest.mark.parametrize("arguments", [["up"], ["up", "--detach"], ["faults", "--rounds", "1"]], ids=" ".join)
def test_a_folder_that_cannot_be_created_is_exit_code_2(arguments: list[str]) -> None:
    done = tradefleet(*arguments, "--home", "/proc/nowhere")
    assert done.returncode == 2, done.stderr
    assert "/proc/nowhere" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr


def test_help_lists_every_command() -> None:
    done = tradefleet("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_status_reports_that_nothing_is_running(tmp_path: Path) -> None:
    done = tradefleet("status", "--home", str(tmp_path), "--json")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert tradefleet("down", "--home", str(tmp_path)).returncode == 0


def test_up_without_kafka_ends_at_once_and_leaves_no_files(tmp_path: Path) -> None:
    done = tradefleet("up", "--home", str(tmp_path / "home"), KAFKA_HOME=str(tmp_path), KAFKA_BOOTSTRAP="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "KAFKA_HOME" in done.stderr
    assert not (tmp_path / "home").exists()


def test_doctor_names_what_is_missing(tmp_path: Path) -> None:
    done = tradefleet("doctor", "--json", KAFKA_HOME=str(tmp_path), KAFKA_BOOTSTRAP="")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    missing = [finding["what"] for finding in report["findings"] if not finding["ok"]]
    assert (report["ok"], missing) == (False, ["Kafka"])


def test_the_openapi_document_is_printed_or_written(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    written, printed = tradefleet("openapi", "-o", str(file)), CliRunner().invoke(openapi_command)
    assert (written.returncode, printed.exit_code, printed.stderr) == (0, 0, "")
    assert printed.stdout == file.read_text()
    assert "/v1/usage" in json.loads(printed.stdout)["paths"]
