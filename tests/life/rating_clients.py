"""Clients that post ratings back to back, and remember what they sent and what was acknowledged."""

import http.client
import json
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from service import ServerProcess

_FIRST_TIME, _TIMES = 1_000_000_000, 600_000_000
_MOST_AT_ONCE = 20

#: user_id, item_id, rating, unix seconds: what a listing must show.
Row = tuple[str, str, float, int]


@dataclass
class Sent:
    """What was sent in one life of a service: numbers from `start` on, each a rating unlike every other. Number n is
    user n // (number of items) rating item n % (number of items), and its event id carries it too.
    """

    item_ids: Sequence[str]
    start: int = 0
    acknowledged: set[int] = field(default_factory=set)
    #: Numbers that were posted together, and of which nobody said what became of them.
    unknown: list[range] = field(default_factory=list)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.start

    def take(self, size: int) -> range:
        self.end += size
        return range(self.end - size, self.end)

    def body(self, numbers: Sequence[int]) -> bytes:
        return json.dumps({"ratings": [self._rating(number) for number in numbers]}).encode()

    def _rating(self, number: int) -> dict[str, Any]:
        user_id, item_id, value, timestamp = self.row(number)
        names = {"user_id": user_id, "item_id": item_id, "event_id": f"event-{number}"}
        return names | {"rating": value, "timestamp": timestamp}

    def row(self, number: int) -> Row:
        user, item = divmod(number, len(self.item_ids))
        return f"client-{user}", self.item_ids[item], float(1 + number % 5), _FIRST_TIME + number % _TIMES

    def rows(self) -> set[Row]:
        return {self.row(number) for number in range(self.start, self.end)}


class Clients:
    """Some threads with a connection each, which post single ratings and batches by turns until the service is gone,
    is stopping, or refuses. `refused` holds every answer that was neither an acknowledgement nor a 503.
    """

    def __init__(self, server: ServerProcess, sent: Sent, *, n_clients: int = 6, seed: int = 0) -> None:
        self._address = urlsplit(server.address).netloc
        self._sent = sent
        self._lock = threading.Lock()
        self.first_acknowledged = threading.Event()
        self.refused: list[tuple[int, bytes]] = []
        self._threads = [threading.Thread(target=self._post, args=(seed + n,)) for n in range(n_clients)]
        for thread in self._threads:
            thread.start()

    def _post(self, seed: int) -> None:
        dice = random.Random(seed)
        connection = http.client.HTTPConnection(self._address, timeout=20)
        try:
            for turn in count():
                with self._lock:
                    numbers = self._sent.take(1 if turn % 2 else dice.randint(2, _MOST_AT_ONCE))
                try:
                    status, answer = post(connection, self._sent.body(numbers))
                except (OSError, http.client.HTTPException):
                    status, answer = 0, b""
                with self._lock:
                    if status == 200:
                        self._sent.acknowledged.update(numbers)
                    else:
                        self._sent.unknown.append(numbers)
                        if status not in (0, 503):
                            self.refused.append((status, answer))
                if status != 200:
                    return
                self.first_acknowledged.set()
        finally:
            connection.close()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/api/v1/ratings", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def resend(server: ServerProcess, sent: Sent) -> None:
    """Send again what nobody acknowledged, as it was."""
    for numbers in sent.unknown:
        answer = server.request("/api/v1/ratings", method="POST", body=json.loads(sent.body(numbers)))
        assert answer.status == 200, answer.body
        assert len(numbers) == answer.json["accepted"] + answer.json["duplicates"]
        assert answer.json["duplicates"] in (0, len(numbers)), "a batch was kept by half"
        sent.acknowledged.update(numbers)
    sent.unknown = []


def item_ids(server: ServerProcess) -> list[str]:
    return [item["item_id"] for item in server.request("/api/v1/items?limit=500").json["items"]]


def kept(server: ServerProcess, sent: Sent) -> list[Row]:
    """Return what the service lists of one life, having seen that all acknowledged is there as it was sent, nothing
    twice, and nothing that nobody sent.
    """
    rows = [row for user_id in sorted({row[0] for row in sent.rows()}) for row in _listed(server, user_id)]
    acknowledged = {sent.row(number) for number in sent.acknowledged}
    unknown = {sent.row(number) for numbers in sent.unknown for number in numbers}
    assert len(set(rows)) == len(rows)
    assert set() == acknowledged - set(rows)
    assert set() == set(rows) - acknowledged - unknown
    return rows


def _listed(server: ServerProcess, user_id: str) -> list[Row]:
    rows = server.request(f"/api/v1/users/{user_id}/ratings").json["ratings"]
    assert all(row["source"] == "api" for row in rows)
    times = [int(datetime.fromisoformat(row["timestamp"]).timestamp()) for row in rows]
    return [(user_id, row["item_id"], row["rating"], at) for row, at in zip(rows, times, strict=True)]


def n_stored(server: ServerProcess) -> int:
    """How many ratings were read from the store; a listing shows one an item, however many there are."""
    return int(server.request("/health").json["feedback"]["ratings"])
