"""Runs `recsys` as a user does: a process of its own, in an empty directory, without settings from outside."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CommandLine:
    """`recsys` in one directory, with its models and state beneath it."""

    directory: Path
    sample: Path

    @property
    def environ(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        return env | {
            "RECSYS_PATHS__MODELS": str(self.directory / "models"),
            "RECSYS_PATHS__STATE": str(self.directory / "state"),
            "RECSYS_PATHS__SAMPLE": str(self.sample),
            "RECSYS_CONFIG_DIR": str(ROOT / "config"),
            "COLUMNS": "120",
        }

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "recsys", *arguments],
            cwd=self.directory, env=self.environ | environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*arguments, **environ) as process:
            try:
                out, err = process.communicate(timeout=100)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def refused(self, *arguments: str, status: int = 1, **environ: str) -> str:
        """Run what must be refused with one clear line, and return that line."""
        done = self(*arguments, **environ)
        assert status == done.returncode, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if line.startswith("recsys: ")]
        assert len(lines) == 1, done.stderr
        assert lines[0] == done.stderr.splitlines()[-1]
        return lines[0]
