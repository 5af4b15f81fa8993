"""`recsys --help` of every command, and wrong usage."""

import re

import pytest
from command_line import CommandLine

from recsys import __version__

pytest_plugins = ["recsys_command"]
COMMANDS = ["serve", "train", "evaluate", "models", "sample"]
MODEL_ACTIONS = ["list", "show", "verify", "pin", "unpin", "rollback"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), *(["models", name] for name in MODEL_ACTIONS)])
def test_help_says_how_to_use_it(recsys: CommandLine, command: list[str]) -> None:
    done = recsys(*command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {' '.join(['recsys', *command])}")


def test_help_names_every_command(recsys: CommandLine) -> None:
    text = recsys("--help").stdout

    assert set(COMMANDS) <= set(re.findall(r"^    (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("serve", {"--data", "--host", "--port"}),
        ("train", {"--data", "--version", "--models"}),
        ("evaluate", {"--data", "--protocol", "--json"}),
        ("models", {"--models"}),
    ],
)
def test_help_names_the_options_of_the_contract(recsys: CommandLine, command: str, options: set[str]) -> None:
    assert options <= set(re.findall(r"--\w+", recsys(command, "--help").stdout))


def test_version(recsys: CommandLine) -> None:
    done = recsys("--version")

    assert (0, f"recsys {__version__}\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["fly"], ["--fast"], ["serve", "--port", "http"], ["serve", "now"], ["train", "--speed", "9"],
        ["evaluate"], ["evaluate", "--data"], ["evaluate", "--data", "x", "--protocol", "guess"],
        ["evaluate", "--data", "x", "--seeds", "many"], ["models"], ["models", "fly"], ["models", "show"],
        ["models", "pin"], ["models", "list", "v1.0.0"], ["sample"], ["sample", "a", "b"],
    ],
)  # fmt: skip
def test_wrong_usage_is_status_2_and_shows_the_right_one(recsys: CommandLine, arguments: list[str]) -> None:
    done = recsys(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: recsys")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["--help"], ["serve", "--help"], ["models", "--help"]])
def test_help_loads_nothing_heavy(recsys: CommandLine, command: list[str]) -> None:
    loaded = recsys(*command, PYTHONPROFILEIMPORTTIME="1").stderr

    assert re.search(r"\| +argparse\b", loaded), "the list of imports is not there"
    assert re.findall(r"\| +(numpy|pandas|scipy|aiohttp|pydantic)\b", loaded) == []


def test_a_wrong_setting_is_one_clear_line(recsys: CommandLine) -> None:
    line = recsys.refused("models", "list", RECSYS_SERVER__PROT="80")

    assert "RECSYS_SERVER__PROT: there is no such setting; did you mean RECSYS_SERVER__PORT?" in line


def test_output_into_a_closed_pipe_is_no_traceback(recsys: CommandLine) -> None:
    process = recsys.start("models", "list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process:
        errors = process.stderr.read()

    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
