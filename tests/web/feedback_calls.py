"""Short ways to ask for what the tests of ratings, films and events over HTTP are about."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from http_exchange import user_path
from service import Answer, ServerProcess

TOKEN = "the-token-of-these-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
RATINGS = "/api/v1/ratings"
#: Values that float32 does not hold as they are written.
TENTHS = (0.7, 1.1, 3.3, 9.9)
_ENDED = {"accepted", "rejected", "failed", "timed_out", "cancelled"}


def rating(user_id: str, item_id: str, value: Any = 5, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "rating": value, **more}


def rate(server: ServerProcess, *ratings: Any, headers: dict[str, str] | None = None) -> Answer:
    return server.request(RATINGS, method="POST", body={"ratings": ratings}, headers=headers)


def kept(answer: Answer) -> tuple[int, int, int]:
    """Status, accepted and duplicates."""
    assert answer.status == 200, answer.body[:500]
    return answer.status, answer.json["accepted"], answer.json["duplicates"]


def about(user_id: str, rest: str = "") -> str:
    return f"/api/v1/users/{quote(user_id, safe='')}{rest}"


def ratings_of(server: ServerProcess, user_id: str) -> list[dict[str, Any]]:
    answer = server.request(about(user_id, "/ratings"))
    assert answer.status == 200, answer.body[:500]
    found: list[dict[str, Any]] = answer.json["ratings"]
    return found


def listed(server: ServerProcess, user_id: str) -> dict[str, float]:
    """A user's ratings by item, none twice."""
    rows = ratings_of(server, user_id)
    found = {row["item_id"]: row["rating"] for row in rows}
    assert len(rows) == len(found)
    return found


def take_back(server: ServerProcess, user_id: str, item_id: str) -> Answer:
    return server.request(about(user_id, f"/ratings/{quote(item_id, safe='')}"), method="DELETE")


def forget(server: ServerProcess, user_id: str) -> None:
    answer = server.request(about(user_id), method="DELETE")
    assert (answer.status, answer.json) == (200, {"forgotten": True})


def recommended(server: ServerProcess, user_id: str, query: str = "") -> Any:
    answer = server.request(user_path(user_id, query))
    assert answer.status == 200, answer.body[:500]
    return answer.json


def by_hand(server: ServerProcess, user_id: str, n: int = 10) -> Any:
    """What the model says to the ratings that the service lists for a user, were they those of a stranger."""
    ratings = [{name: row[name] for name in ("item_id", "rating", "timestamp")} for row in ratings_of(server, user_id)]
    answer = server.request("/api/v1/recommendations", method="POST", body={"ratings": ratings, "n": n})
    assert answer.status == 200, answer.body[:500]
    return answer.json


def counts_all(server: ServerProcess, user_id: str) -> bool:
    """Whether a user's list rests on the ratings that are listed, on each once and on no other."""
    mine, strangers = recommended(server, user_id), by_hand(server, user_id)
    return all(mine[name] == strangers[name] for name in ("model_version", "strategy", "items"))


def item_path(item_id: str, rest: str = "") -> str:
    return f"/api/v1/items/{quote(item_id, safe='')}{rest}"


def put_item(server: ServerProcess, item_id: str, **said: Any) -> Answer:
    return server.request(item_path(item_id), method="PUT", body={"title": f"Film {item_id}"} | said, headers=ADMIN)


def patch_item(server: ServerProcess, item_id: str, **said: Any) -> Answer:
    return server.request(item_path(item_id), method="PATCH", body=said, headers=ADMIN)


def withdraw_item(server: ServerProcess, item_id: str) -> Answer:
    return server.request(item_path(item_id), method="DELETE", headers=ADMIN)


def retrain(server: ServerProcess) -> str:
    """Train, wait until the new version answers, and return its name."""
    answer = server.request("/admin/retrain", method="POST", headers=ADMIN)
    assert answer.status == 202, answer.body[:500]
    return wait_trained(server, answer.json["job_id"])


def wait_trained(server: ServerProcess, job_id: str) -> str:
    def job() -> Any:
        return server.request(f"/admin/jobs/{job_id}", headers=ADMIN).json

    server.wait_for(lambda: job()["status"] in _ENDED, "a training that ended", 60)
    done = job()
    assert done["status"] == "accepted", done
    version: str = done["model_version"]
    server.wait_version(version)
    return version


def files_with(directory: Path, text: str) -> list[str]:
    """The files in which this text is to be found, in any byte."""
    return [
        str(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and text.encode() in path.read_bytes() + path.name.encode()
    ]


class Talk:
    """One connection that stays open: requests on it are answered in order."""

    def __init__(self, server: ServerProcess) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=20)

    def request(self, path: str, *, method: str = "GET", body: Any = None) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        answer = self._connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def talking(server: ServerProcess) -> Iterator[Talk]:
    talk = Talk(server)
    try:
        yield talk
    finally:
        talk.close()
