"""deploy/nginx/nginx.conf in a real nginx, with TLS, in front of a real service."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from service import ROOT, ServerProcess

from recsys.artifacts.store import ModelStore


@dataclass
class Proxy:
    """nginx on two ports of 127.0.0.1, trusted by its own certificate."""

    http_port: int
    https_port: int
    trust: ssl.SSLContext
    process: "subprocess.Popen[bytes]"

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.https_port, context=self.trust, timeout=20)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = self.connect()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        found = (answer.status, answer.headers, answer.read())
        connection.close()
        return found


def _two_free_ports() -> tuple[int, int]:
    """Held at the same time, or they could be the same."""
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def service(serve: Callable[..., ServerProcess], store_with: Callable[..., ModelStore]) -> ServerProcess:
    store_with("v1.0.0")
    return serve()


@pytest.fixture
def proxy(service: ServerProcess, tmp_path: Path) -> Iterator[Proxy]:
    for program in ("nginx", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: on Debian, apt-get install nginx-light openssl")
    tls = tmp_path / "tls"
    tls.mkdir()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "1",
            "-keyout", tls / "privkey.pem", "-out", tls / "fullchain.pem",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ],
        capture_output=True, check=True,
    )  # fmt: skip
    http_port, https_port = _two_free_ports()
    config = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    for there, here in (
        ("recsys:8000", service.address.removeprefix("http://")),
        ("/etc/nginx/tls", str(tls)),
        ("/run/nginx.pid", str(tmp_path / "nginx.pid")),
        ("_path /tmp/", f"_path {tmp_path}/"),
        ("/dev/stdout", str(tmp_path / "access.log")),
        ("/dev/stderr", str(tmp_path / "error.log")),
        ("    listen [::]:80;\n", ""),
        ("    listen [::]:443 ssl http2;\n", ""),
        ("listen 80;", f"listen 127.0.0.1:{http_port};"),
        ("listen 443 ", f"listen 127.0.0.1:{https_port} "),
        ("worker_processes auto", "worker_processes 1"),
    ):
        assert there in config, there
        config = config.replace(there, here)
    (tmp_path / "nginx.conf").write_text(config)
    command = ["nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
    checked = subprocess.run([*command, "-t"], text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    found = Proxy(http_port, https_port, ssl.create_default_context(cafile=str(tls / "fullchain.pem")), process)
    deadline = time.monotonic() + 10
    while True:
        try:
            found.ask("/health/live")
            break
        except OSError:
            assert time.monotonic() < deadline, (tmp_path / "error.log").read_text()
            time.sleep(0.05)
    yield found
    process.terminate()
    process.wait(10)


def test_answers_over_tls_what_the_service_answers(proxy: Proxy, service: ServerProcess) -> None:
    path = "/api/v1/users/1/recommendations?n=3"
    status, headers, body = proxy.ask(path, headers={"X-Request-ID": "from-outside"})

    assert (status, json.loads(body)) == (200, service.request(path).json)
    assert headers["X-Request-ID"] == "from-outside"
    assert headers["X-Model-Version"] == "v1.0.0"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "nginx/" not in (headers["Server"] or "")


def test_sends_plain_http_to_https(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http_port, timeout=20)
    connection.request("GET", "/docs?x=1", headers={"Host": "films.example"})
    answer = connection.getresponse()

    assert (answer.status, answer.headers["Location"]) == (301, "https://films.example/docs?x=1")
    connection.close()


def test_keeps_operators_addresses_to_the_inside(proxy: Proxy) -> None:
    assert [proxy.ask(path)[0] for path in ("/metrics", "/health")] == [404, 404]
    assert proxy.ask("/health/ready")[0] == 200


def test_passes_events_on_when_they_happen(proxy: Proxy, service: ServerProcess) -> None:
    token = (service.directory / "state" / "admin-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    connection = proxy.connect()
    connection.request("GET", "/admin/events", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")

    assert proxy.ask("/admin/retrain", "POST", headers=headers)[0] == 202
    job = b""
    while b"event: job" not in job:  # bounded by the connection's time limit
        job = answer.readline()
    running = service.request("/health").json["retraining"]["running"]
    connection.close()

    assert running is not None  # buffered, it would have come with the end of the stream


def test_refuses_a_large_body_before_the_service_sees_it(proxy: Proxy) -> None:
    assert proxy.ask("/api/v1/ratings", "POST", b"x" * (1_048_576 + 1), {"Content-Type": "application/json"})[0] == 413


def test_slows_down_whoever_hammers_on_admin(proxy: Proxy, service: ServerProcess) -> None:
    """With the right token, since the service itself refuses whoever guesses wrong ten times."""
    token = (service.directory / "state" / "admin-token").read_text().strip()
    statuses = [proxy.ask("/admin/jobs", headers={"Authorization": f"Bearer {token}"})[0] for _ in range(40)]

    assert statuses[:20] == [200] * 20
    assert statuses[-1] == 429


def test_is_not_told_by_a_client_who_it_is(proxy: Proxy, tmp_path: Path) -> None:
    config = (tmp_path / "nginx.conf").read_text()

    assert "proxy_set_header X-Forwarded-For $remote_addr;" in config
    assert "$proxy_add_x_forwarded_for" not in config
    assert "users/secret-user" not in _log_after(proxy, tmp_path)


def _log_after(proxy: Proxy, tmp_path: Path) -> str:
    assert proxy.ask("/api/v1/users/secret-user/recommendations")[0] == 200
    return (tmp_path / "access.log").read_text()
