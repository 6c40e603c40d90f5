import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import emoji_adapter.cli as cli
from emoji_adapter.errors import NoFaceError


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch):
    """Make `doctor` raise."""

    def plant(error: BaseException) -> None:
        def command() -> None:
            raise error

        monkeypatch.setattr("emoji_adapter.cli.doctor.command", command)

    return plant


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emoji_adapter", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_help_names_every_command_without_importing_torch() -> None:
    code = (
        "import sys; from emoji_adapter.cli import main; code = main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'diffusers', 'PIL', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name in cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"{name} [OPTIONS]" in result.output


def test_version() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("emoji_adapter ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dance"], "No such command 'dance'. See `emoji-adapter --help`."),
        (["generate"], "Missing option '--prompt'"),
        (["generate", "--prompt", "x", "--steps", "0"], "--steps"),
        (["generate", "--prompt", "x", "--wings"], "--wings"),
        (["microworld", "render", "--out", "x", "--split", "middle"], "--split"),
    ],
)
def test_wrong_words_give_one_line_and_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    printed = capsys.readouterr()
    assert "generate" in printed.out + printed.err


def test_our_errors_are_one_line_and_code_2(fault, capsys: pytest.CaptureFixture[str]) -> None:
    fault(NoFaceError("No face was found\nin a picture."))
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "Error: No face was found in a picture.\n"


def test_a_full_disk_is_one_line_and_code_2(fault, capsys: pytest.CaptureFixture[str]) -> None:
    fault(OSError(28, "No space left on device", "portrait.png"))
    assert cli.main(["doctor"]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_faults_of_ours_are_one_line_and_code_1(fault, capsys: pytest.CaptureFixture[str]) -> None:
    fault(ZeroDivisionError("division by zero"))
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in printed
    assert "EMOJI_ADAPTER_DEBUG" in printed


def test_debugging_shows_the_traceback(
    fault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOJI_ADAPTER_DEBUG", "0")
    fault(NoFaceError("nobody"))
    assert cli.main(["--debug", "doctor"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_interruptions_give_130(fault, error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    fault(error)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_process_ends_with_the_code_and_no_traceback() -> None:
    done = run("generate", "--prompt", "x", "--identity", "/nowhere/me.png", "--out", "/nowhere/out.gif")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "/nowhere/out.gif" in done.stderr
