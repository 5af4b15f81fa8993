"""How far long work is: a bar for a person, lines for a log."""

import os
import pty
import subprocess
import sys
import termios

WORK = """
from recsys.cli.progress import show_progress
with show_progress("learning") as tell:
    tell("reading", 0.0)
    tell("solving", 0.5)
    if {fails}: raise SystemExit("the disk is full")
"""


def on_a_terminal(code: str) -> str:
    """Run code whose stderr is a terminal; return what a person was shown."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # how Linux says that nobody has the terminal open any more
            pass
        process.wait(30)
    os.close(ours)
    return shown.decode()


def test_a_terminal_gets_a_bar_that_goes_when_the_work_is_done() -> None:
    shown = on_a_terminal(WORK.format(fails=False))

    assert "learning: solving" in shown
    assert " 50 %" in shown
    assert shown.endswith("\r")
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_an_error_is_on_a_line_of_its_own() -> None:
    shown = on_a_terminal(WORK.format(fails=True))

    *_, cleared, error = shown.rstrip().split("\r")
    assert (cleared.strip(), error) == ("", "the disk is full")


def test_a_log_gets_a_line_for_each_stage() -> None:
    done = subprocess.run([sys.executable, "-c", WORK.format(fails=False)], capture_output=True, text=True, check=True)

    lines = (done.stdout + done.stderr).splitlines()
    assert [line.partition("stage=")[2] for line in lines] == ["reading", "solving"]
