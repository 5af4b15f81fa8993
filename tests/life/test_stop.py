"""SIGTERM and SIGINT while training runs under load: a clean end, in time, for everybody."""

import http.client
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from life_of_a_process import TOKEN, children_of, eventually, is_living, job, retrain, wait_idle, write_ratings
from service import ServerProcess

Serve = Callable[..., ServerProcess]
GRACE_S = 10


class Load:
    """Clients that ask back to back until the service refuses them; each answer is whole, or counted as broken."""

    def __init__(self, server: ServerProcess, n_clients: int = 4) -> None:
        self._address = urlsplit(server.address)
        self.whole = 0
        self.broken: list[object] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while True:
            try:
                connection = socket.create_connection((self._address.hostname, self._address.port), timeout=20)
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(
                        b"GET /api/v1/users/1/recommendations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    )
                    if not connection.recv(1, socket.MSG_PEEK):
                        return  # never accepted: closed before a byte was read
                except ConnectionError:
                    return
                answer = http.client.HTTPResponse(connection)
                try:
                    answer.begin()
                    body = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.broken.append(error)
                    return
                if answer.status == 200 and body.endswith(b"]}"):
                    self.whole += 1
                else:
                    self.broken.append((answer.status, body))

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["start", "fit"])
def test_a_stop_during_training_under_load_is_clean(
    serve: Serve, tmp_path: Path, number: signal.Signals, stage: str
) -> None:
    data = write_ratings(tmp_path / "own.csv")
    server = serve("--data", str(data), environ={"RECSYS_ADMIN__TOKEN": TOKEN})
    wait_idle(server)
    write_ratings(data, n_users=3000, n_items=600)
    load = Load(server)
    job_id = retrain(server)
    server.wait_for(lambda: bool(children_of(server.process.pid)), "training", 30)
    if stage != "start":
        server.wait_for(lambda: job(server, job_id)["stage"] not in ("start", "read"), stage, 30)
    children = children_of(server.process.pid)
    before = load.whole

    started = time.monotonic()
    assert server.stop(number, timeout_s=GRACE_S) == 0
    assert time.monotonic() - started < GRACE_S
    load.join()

    assert load.broken == []
    assert before > 0
    assert children
    assert eventually(lambda: not any(is_living(child) for child in children), 5)
    assert list((tmp_path / "models" / ".staging").iterdir()) == []
    assert not any("Traceback" in line for line in server.log)

    again = serve("--data", str(data), environ={"RECSYS_ADMIN__TOKEN": TOKEN})
    assert (job(again, job_id)["status"], job(again, job_id)["reason"]) == ("cancelled", "the service is stopping")
