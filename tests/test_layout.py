"""The shape of the repository and of its modules, as DESIGN and STYLE promise it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "recsys"
#: What a visitor sees first. A new name here is a decision, not an accident.
TOP_LEVEL = {
    *(".ci", ".containerignore", ".dockerignore", ".github", ".gitignore", "CHANGELOG.md"),
    *("Containerfile", "LICENSE", "README.md", "compose.yaml", "config", "data", "deploy", "pyproject.toml"),
    *("recsys", "scripts", "setup.cfg", "tests"),
}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in PACKAGE.rglob("*.py")
)
COMMANDS = [
    *(f"scripts/{name}" for name in ("serve", "test", "bench", "lock", "build", "dev", "train", "token", "stop")),
    ".ci/run",
]


@pytest.fixture(scope="module")
def committed() -> list[str]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [name for name in done.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


def alone(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


class TestImports:
    def test_every_module_imports_alone(self) -> None:
        """Each in a fork of its own, before anything of the project has been imported. What is large and of others is
        there already: to import it anew in each fork took two thirds of the time.
        """
        code = """
import importlib, os, sys
import aiohttp, numpy, orjson, pandas, prometheus_client, pydantic, scipy, structlog
for name in sys.argv[1:]:
    if name.endswith("__main__"):
        continue
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""
        done = alone(code, *MODULES)

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.parametrize(
        "module", ["recsys.web.app", "recsys.cli.serve", "recsys.cli.models", "recsys.jobs.retrain"]
    )
    def test_what_the_server_runs_loads_nothing_that_few_need(self, module: str) -> None:
        seldom = {"pandas", "scipy", "aiobotocore", "apscheduler.schedulers", "tqdm"}
        done = alone(f"import sys, {module}; print(*{seldom} & set(sys.modules))")

        assert (done.returncode, done.stdout) == (0, "\n"), done.stderr

    @pytest.mark.parametrize("module", ["recsys.cli.main", "recsys.training.worker"])
    def test_what_runs_before_the_threads_are_capped_does_not_load_numpy(self, module: str) -> None:
        """OpenBLAS reads its number of threads when numpy is loaded."""
        done = alone(f"import sys, {module}; print('numpy' in sys.modules)")

        assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr

    @pytest.mark.parametrize("place", [None, "/etc/ssl/certs/ca-certificates.crt"])
    def test_a_start_reads_no_certificates_and_leaves_the_environment_as_it_was(self, place: str | None) -> None:
        code = f"""
import os, sys
os.environ.pop("SSL_CERT_FILE", None)
if {place!r}: os.environ["SSL_CERT_FILE"] = {place!r}
from recsys.cli import main
before = dict(os.environ)
with main._no_certificates():
    import recsys.cli.serve
from aiohttp.connector import _SSL_CONTEXT_VERIFIED as trusting
print(trusting.cert_store_stats()["x509_ca"], trusting.get_ca_certs(), before == dict(os.environ))
"""
        done = alone(code)

        assert (done.returncode, done.stdout) == (0, "0 [] True\n"), done.stderr

    def test_the_environment_is_read_in_one_place(self) -> None:
        """`cli.settings` hands it to `load_settings`; BLAS must be capped through it before numpy is loaded."""
        readers = {
            path.relative_to(PACKAGE).as_posix()
            for path in PACKAGE.rglob("*.py")
            if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
        }

        assert readers <= {"cli/settings.py", "cli/main.py", "training/worker.py"}


class TestModules:
    @pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
    def test_fit_in_a_head_and_say_what_they_own(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")

        assert len(text.splitlines()) <= 300
        assert ast.get_docstring(ast.parse(text))

    def test_are_not_named_for_nothing(self) -> None:
        junk = {"utils", "util", "helpers", "helper", "common", "const", "constants", "misc", "base"}

        assert set() == junk & {part for module in MODULES for part in module.split(".")}


class TestTests:
    def test_have_names_of_their_own(self) -> None:
        """Without packages in tests/, two files of one name hide each other."""
        names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]

        assert sorted({name for name in names if names.count(name) > 1}) == []
        assert "__init__.py" not in names

    def test_do_not_sleep_for_luck(self) -> None:
        """A sleep is for a loop that polls with a deadline; alone it is either too short or too long."""
        found = []
        for path in sorted((ROOT / "tests").rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            looping = {
                id(inner)
                for loop in ast.walk(tree)
                if isinstance(loop, ast.While | ast.For | ast.AsyncFor)
                for inner in ast.walk(loop)
            }
            found += [
                f"{path.name}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep" and id(node) not in looping
            ]
        assert found == []


class TestRepository:
    def test_has_only_the_top_level_that_was_agreed(self, committed: list[str]) -> None:
        assert set() == {name.split("/")[0] for name in committed} - TOP_LEVEL

    def test_commits_nothing_that_is_made(self, committed: list[str]) -> None:
        made = re.compile(r"__pycache__|\.py[co]$|\.egg-info|\.npy$|\.(mypy|ruff|pytest)_cache|\.venv|^data/(?!README)")

        assert [name for name in committed if made.search(name)] == []

    def test_commits_no_link_and_nothing_large(self, committed: list[str]) -> None:
        assert [name for name in committed if (ROOT / name).is_symlink()] == []
        assert [name for name in committed if (ROOT / name).stat().st_size > 500_000] == []

    def test_text_files_end_with_one_newline_and_have_no_trailing_blanks(self, committed: list[str]) -> None:
        found = []
        for name in committed:
            content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
            if b"\0" in content or not content:
                continue
            if (
                not content.endswith(b"\n")
                or content.endswith(b"\n\n")
                or b"\r" in content
                or re.search(rb"[ \t]\n", content)
            ):
                found.append(name)
        assert found == []


class TestScripts:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_can_be_run_and_say_what_they_are(self, name: str) -> None:
        path = ROOT / name

        assert path.is_file()
        assert os.access(path, os.X_OK)
        first, second, *_ = path.read_text(encoding="utf-8").splitlines()
        assert first.startswith("#!/usr/bin/env ")
        assert second.startswith(("# ", '"""'))

    @pytest.mark.parametrize("name", COMMANDS)
    def test_stop_at_the_first_failure(self, name: str) -> None:
        text = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""

        assert "bash" not in text.partition("\n")[0] or "\nset -euo pipefail\n" in text


class TestLockFiles:
    @pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*.lock")), ids=lambda path: path.name)
    def test_pin_each_package_by_hash_and_name_no_address(self, path: Path) -> None:
        """An address would tie every installation to somebody's mirror, and show where it was made."""
        text = path.read_text(encoding="utf-8")

        assert re.findall(r"https?://\S+|--(?:extra-)?index-url|--find-links|--trusted-host|file:\S+", text) == []
        requirements = re.split(r"\n(?=[\w-]+==)", text)[1:]
        assert len(requirements) > (0 if path.name == "requirements-dev.lock" else 10)
        assert [block.split()[0] for block in requirements if "--hash=sha256:" not in block] == []

    def test_of_tests_agree_with_what_is_deployed(self) -> None:
        def pinned(name: str) -> dict[str, str]:
            return dict(
                re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "deploy" / name).read_text(encoding="utf-8"), re.MULTILINE)
            )

        deployed, tested = pinned("requirements.lock"), pinned("requirements-test.lock")
        assert {name: version for name, version in deployed.items() if name in tested} == {
            name: version for name, version in tested.items() if name in deployed
        }

    def test_serve_what_the_package_needs(self) -> None:
        needed = re.search(
            r"^install_requires =\n((?:    .+\n)+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert needed is not None
        names = {re.split(r"[<>=\[ ]", line.strip())[0].lower() for line in needed[1].splitlines()}
        locked = set(
            re.findall(
                r"^([\w.-]+)==", (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
            )
        )

        assert set() == names - locked
