"""What deploy/ says, against schemas, against itself, and against the image and the settings it speaks of."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from service import ROOT

from recsys.settings import ServerSettings, setting_names

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DEVELOPMENT = yaml.safe_load((ROOT / "deploy" / "compose.dev.yaml").read_text(encoding="utf-8"))
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "recsys.yaml").read_text(encoding="utf-8")))
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
SCRIPTS = ["build", "dev", "train", "token", "stop"]
GUIDES = [ROOT / "deploy" / name for name in ("GUIDE.md", "RUNBOOK.md", "COMMANDS.md")]


class _Quadlet(configparser.RawConfigParser):
    """Names keep their case, and `=` in values is theirs."""

    def __init__(self) -> None:
        super().__init__(delimiters=("=",), comment_prefixes=("#",), strict=True, interpolation=None)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def quadlet() -> _Quadlet:
    found = _Quadlet()
    found.read(ROOT / "deploy" / "systemd" / "recsys.container", encoding="utf-8")
    return found


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def named(kind: str) -> Any:
    (found,) = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


class TestSchemas:
    @pytest.mark.parametrize(
        ("schema", "files"),
        [
            ("vendor.compose-spec", ["compose.yaml", "deploy/compose.dev.yaml"]),
            ("vendor.github-workflows", [".github/workflows/ci.yml"]),
        ],
    )
    def test_hold_for_compose_files_and_workflow(self, schema: str, files: list[str]) -> None:
        _checked("check-jsonschema", "--builtin-schema", schema, *files)

    def test_hold_for_kubernetes(self) -> None:
        _checked("kubernetes-validate", "--strict", "deploy/kubernetes/recsys.yaml")


def _checked(program: str, *arguments: str) -> None:
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}: pip install --require-hashes -r deploy/requirements-container.lock")
    done = subprocess.run([found, *arguments], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class TestAgreement:
    def test_whoever_stops_it_waits_twice_as_long_as_the_service_takes(self) -> None:
        service = COMPOSE["services"]["recsys"]
        shutdown = float(service["environment"]["RECSYS_SERVER__SHUTDOWN_S"])

        assert shutdown == ServerSettings().shutdown_s
        assert seconds(service["stop_grace_period"]) >= 2 * shutdown
        assert int(quadlet()["Container"]["StopTimeout"]) >= 2 * shutdown
        assert int(quadlet()["Service"]["TimeoutStopSec"]) > int(quadlet()["Container"]["StopTimeout"])
        assert named("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 2 * shutdown

    def test_health_checks_are_the_image_s(self) -> None:
        in_image = re.search(
            r"HEALTHCHECK --interval=(\S+) --timeout=(\S+) --start-period=(\S+) --retries=(\d) CMD (.+)", CONTAINERFILE
        )
        assert in_image is not None
        check = COMPOSE["services"]["recsys"]["healthcheck"]
        unit = quadlet()["Container"]
        command = yaml.safe_load(in_image[5])

        assert ["CMD", *command] == check["test"]
        assert list(in_image.groups()[:4]) == [
            check["interval"], check["timeout"], check["start_period"], str(check["retries"])
        ]  # fmt: skip
        assert (in_image[5], *in_image.groups()[:4]) == (
            *(unit["HealthCmd"], unit["HealthInterval"], unit["HealthTimeout"], unit["HealthStartPeriod"]),
            unit["HealthRetries"],
        )

    def test_a_training_fits_into_the_memory_beside_the_server(self) -> None:
        def default(text: str) -> str:
            found = re.fullmatch(r"\$\{\w+:-(.+)\}", text)
            assert found is not None
            return found[1]

        service = COMPOSE["services"]["recsys"]
        limit = int(default(service["environment"]["RECSYS_RETRAINING__MEMORY_LIMIT_MB"]))
        memory = default(service["mem_limit"])

        assert memory == "2g"
        assert limit + 512 <= 2048
        assert f"--memory={memory}" in quadlet()["Container"]["PodmanArgs"]
        assert f"RECSYS_RETRAINING__MEMORY_LIMIT_MB={limit}" in quadlet()["Container"]["Environment"]
        (container,) = named("Deployment")["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["memory"] == "2Gi"
        assert {"name": "RECSYS_RETRAINING__MEMORY_LIMIT_MB", "value": str(limit)} in container["env"]

    def test_every_variable_is_a_setting(self) -> None:
        """One that is not would stop the start."""
        used = set(COMPOSE["services"]["recsys"]["environment"]) | set(DEVELOPMENT["services"]["recsys"]["environment"])
        (container,) = named("Deployment")["spec"]["template"]["spec"]["containers"]
        used |= {variable["name"] for variable in container["env"]}
        used |= set(re.findall(r"(RECSYS_\w+)=", CONTAINERFILE))
        used |= {quadlet()["Container"]["Environment"].partition("=")[0]}

        assert {name for name in used if name.startswith("RECSYS_")} - set(setting_names()) == set()

    def test_ignore_files_of_podman_and_docker_say_the_same(self) -> None:
        assert (ROOT / ".containerignore").read_bytes() == (ROOT / ".dockerignore").read_bytes()

    def test_every_service_of_compose_is_confined(self) -> None:
        for service in COMPOSE["services"].values():
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert {"mem_limit", "pids_limit", "logging", "restart"} <= set(service)

    def test_only_the_proxy_listens_to_the_network_by_itself(self) -> None:
        listening = {
            name: [str(port) for port in service["ports"]]
            for name, service in (COMPOSE["services"] | {"dev": DEVELOPMENT["services"]["recsys"]}).items()
        }
        local = re.compile(r"(127\.0\.0\.1|\$\{RECSYS_ADDRESS:-127\.0\.0\.1\}):")

        assert {name for name, ports in listening.items() if not all(map(local.match, ports))} == {"proxy"}


class TestKubernetes:
    def test_never_runs_two_at_a_time_on_one_volume(self) -> None:
        spec = named("Deployment")["spec"]

        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})

    def test_confines_the_container(self) -> None:
        pod = named("Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]

        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 1000)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["enableServiceLinks"] is False  # RECSYS_PORT would be an unknown setting
        assert pod["automountServiceAccountToken"] is False

    def test_only_readiness_asks_for_a_model(self) -> None:
        """A first training may take long, and is no reason for a restart."""
        (container,) = named("Deployment")["spec"]["template"]["spec"]["containers"]
        asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}

        assert asked == {
            "startupProbe": "/health/live",
            "livenessProbe": "/health/live",
            "readinessProbe": "/health/ready",
        }

    def test_what_belongs_together_is_labelled_so(self) -> None:
        labels = named("Deployment")["spec"]["template"]["metadata"]["labels"]

        assert labels == named("Deployment")["spec"]["selector"]["matchLabels"]
        assert labels == named("Service")["spec"]["selector"]
        assert labels == named("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]


class TestScripts:
    @pytest.mark.parametrize("name", SCRIPTS)
    def test_tell_what_they_do_without_doing_it(self, name: str) -> None:
        script = ROOT / "scripts" / name
        done = subprocess.run(
            [script, "--help"], env={"PATH": "/usr/bin:/bin"}, text=True, capture_output=True, timeout=20, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout) > 20
        assert "set -euo" not in done.stdout

    @pytest.mark.parametrize("name", SCRIPTS)
    def test_say_what_is_missing_where_there_is_no_engine(self, name: str, tmp_path: Path) -> None:
        for program in ("bash", "dirname", "sed", "env", "mkdir"):
            found = shutil.which(program)
            assert found is not None
            (tmp_path / program).symlink_to(found)
        done = subprocess.run(
            [ROOT / "scripts" / name],
            env={"PATH": str(tmp_path)}, text=True, capture_output=True, timeout=20, check=False,
        )  # fmt: skip

        assert done.returncode == 1
        assert done.stderr == "needs podman or docker; CONTAINER_ENGINE names another\n"

    @pytest.mark.parametrize("name", ["build", "dev", "train", "stop"])
    def test_refuse_an_option_they_do_not_know(self, name: str) -> None:
        done = subprocess.run(
            [ROOT / "scripts" / name, "--yse"], text=True, capture_output=True, timeout=20, check=False
        )

        assert (done.returncode, done.stderr) == (2, f"{name}: there is no option --yse; see --help\n")


class TestGuides:
    @pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
    def test_name_only_what_there_is(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]

        assert [link for link in links if link and not (path.parent / link).exists()] == []
        assert {
            name for name in re.findall(r"\./scripts/(\w+)", text) if not (ROOT / "scripts" / name).is_file()
        } == set()
        placed = {
            "RECSYS_ADDRESS",
            "RECSYS_PORT",
            "RECSYS_MEMORY",
            "RECSYS_IMAGE",
            "RECSYS_LOG_DRIVER",
            "RECSYS_RATINGS",
        }
        placed |= {"RECSYS_ADMIN_TOKEN_FILE", "RECSYS_API_KEYS_FILE"}
        assert set(re.findall(r"\bRECSYS_\w+[A-Z]\b", text)) - placed - set(setting_names()) == set()
        compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
        assert {name for name in placed if f"${{{name}" not in compose} == set()
