"""Bodies that are no JSON, too large, too slow or not what they say: a problem document, and the service lives on."""

import gzip
import json
import time
from collections.abc import Callable

import pytest
from http_exchange import BODY_TIMEOUT_S, connected, exchange, problem_of, read_answer, request_bytes
from service import ServerProcess

pytest_plugins = ["http_server"]
PATHS = ["/api/v1/recommendations", "/api/v1/recommendations/batch", "/api/v1/ratings", "/api/v1/events"]
PATH = PATHS[0]
GOOD = b'{"ratings":[{"item_id":"1","rating":5}],"n":1}'
JSON = b"Content-Type: application/json"
CHUNKED = b"Transfer-Encoding: chunked"
GZIPPED = b"Content-Encoding: gzip"
MAX_BYTES = 2**20


@pytest.fixture(autouse=True)
def _still_answers_afterwards(server: ServerProcess) -> object:
    yield
    assert server.request(PATH, method="POST", body=GOOD, headers={"Content-Type": "application/json"}).status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"ratings":', b"{'ratings':[]}", b'{"ratings":[],}', b"ratings=1", b"<ratings/>", b"\x00",
        b'{"ratings":[{"item_id":"\xff","rating":5}]}', b"\xef\xbb\xbf{}",
        b'{"ratings":[{"item_id":"\\ud800","rating":5}]}', GOOD.decode().encode("utf-16"), GOOD + GOOD, b'{"ratings":'
        + b"[" * 100_000, b'{"n":' + b"9" * 5000 + b"}", ],
)  # fmt: skip
def test_what_is_no_json_is_refused(server: ServerProcess, path: str, body: bytes) -> None:
    answer = exchange(server, request_bytes("POST", path, body=body))

    assert problem_of(answer, 400, "invalid_input") == ["body"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type",
    [b"text/plain", b"application/x-www-form-urlencoded", b"application/xml", b"", b"junk", b"text/json"],
)
def test_another_content_type_is_refused(server: ServerProcess, path: str, content_type: bytes) -> None:
    answer = exchange(server, request_bytes("POST", path, b"Content-Type: " + content_type, body=GOOD))

    problem_of(answer, 415, "unsupported_media_type")
    assert "application/json" in answer.json["detail"] + answer.json["hint"]


def test_no_content_type_is_refused(server: ServerProcess) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
        PATH.encode(),
        len(GOOD),
    )

    problem_of(exchange(server, head + GOOD), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/json;a=b"]
)
def test_a_content_type_may_be_spelled_otherwise(server: ServerProcess, content_type: bytes) -> None:
    assert exchange(server, request_bytes("POST", PATH, b"Content-Type: " + content_type, body=GOOD)).status == 200


class TestTooLarge:
    def test_a_body_over_the_limit_is_refused(self, server: ServerProcess) -> None:
        problem_of(exchange(server, request_bytes("POST", PATH, body=b" " * (MAX_BYTES + 1))), 413, "body_too_large")

    def test_a_body_of_the_limit_is_read(self, server: ServerProcess) -> None:
        body = GOOD + b" " * (MAX_BYTES - len(GOOD))

        assert exchange(server, request_bytes("POST", PATH, body=body)).status == 200

    def test_one_that_says_so_is_refused_before_it_comes(self, server: ServerProcess) -> None:
        """Waiting for what will be refused keeps a connection and tells the client late."""
        head = request_bytes("POST", PATH, JSON, b"Content-Length: 999999999")
        started = time.monotonic()
        answer = exchange(server, head + b"{")

        problem_of(answer, 413, "body_too_large")
        assert time.monotonic() - started < BODY_TIMEOUT_S

    def test_one_in_chunks_is_refused(self, server: ServerProcess) -> None:
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        head = request_bytes("POST", PATH, JSON, CHUNKED)

        problem_of(exchange(server, head + chunk * 17 + b"0\r\n\r\n"), 413, "body_too_large")

    def test_one_that_unpacks_to_more_is_refused(self, server: ServerProcess) -> None:
        packed = gzip.compress(b" " * 50_000_000)
        assert len(packed) < MAX_BYTES

        problem_of(exchange(server, request_bytes("POST", PATH, GZIPPED, body=packed)), 413, "body_too_large")


class TestTooSlow:
    @pytest.mark.parametrize("sent", [b"", b'{"ratings"'])
    def test_a_body_that_stalls_is_given_up(self, server: ServerProcess, sent: bytes) -> None:
        started = time.monotonic()
        answer = exchange(server, request_bytes("POST", PATH, JSON, b"Content-Length: 100") + sent)

        problem_of(answer, 408, "body_timeout")
        assert BODY_TIMEOUT_S <= time.monotonic() - started < BODY_TIMEOUT_S + 5

    def test_chunks_that_stall_are_given_up(self, server: ServerProcess) -> None:
        head = request_bytes("POST", PATH, JSON, CHUNKED)

        problem_of(exchange(server, head + b"5\r\n{    \r\n"), 408, "body_timeout")

    def test_others_are_answered_meanwhile(self, server: ServerProcess) -> None:
        with connected(server) as slow:
            slow.sendall(request_bytes("POST", PATH, JSON, b"Content-Length: 100"))
            started = time.monotonic()
            assert server.request("/health/live").status == 200
            assert time.monotonic() - started < BODY_TIMEOUT_S
            problem_of(read_answer(slow), 408, "body_timeout")

    def test_a_body_in_two_parts_in_time_is_read(self, server: ServerProcess) -> None:
        whole = request_bytes("POST", PATH, body=GOOD)

        assert exchange(server, whole[:-10], whole[-10:], between=lambda: server.request("/health/live")).status == 200


class TestTransfer:
    def test_chunks_are_read(self, server: ServerProcess) -> None:
        head = request_bytes("POST", PATH, JSON, CHUNKED)
        chunks = b"".join(b"1\r\n" + GOOD[at : at + 1] + b"\r\n" for at in range(len(GOOD)))

        assert exchange(server, head + chunks + b"0\r\n\r\n").status == 200

    def test_packed_json_is_read(self, server: ServerProcess) -> None:
        assert exchange(server, request_bytes("POST", PATH, GZIPPED, body=gzip.compress(GOOD))).status == 200

    def test_packed_json_that_cannot_be_unpacked_is_refused(self, server: ServerProcess) -> None:
        problem_of(exchange(server, request_bytes("POST", PATH, GZIPPED, body=GOOD)), 400)

    @pytest.mark.parametrize(
        "packed",
        [gzip.compress(GOOD, mtime=0)[:-12], gzip.compress(GOOD, mtime=0) + b"junk"],
        ids=["cut", "overlong"],
    )
    def test_packed_json_that_is_cut_or_overlong_is_no_server_error(self, server: ServerProcess, packed: bytes) -> None:
        assert exchange(server, request_bytes("POST", PATH, GZIPPED, body=packed)).status < 500

    def test_a_client_that_leaves_amid_its_body_is_no_error_of_ours(self, server: ServerProcess) -> None:
        """Anybody can do it, so it must neither fill the log with tracebacks nor count as a failure of the service."""
        before = len(server.log)
        head = request_bytes("POST", PATH, JSON, b"Content-Length: 100", b"X-Request-ID: leaver")
        with connected(server) as connection:
            connection.sendall(head + b"{")
        server.wait_for(lambda: _in_flight(server) == 1, "only the request that asks is in flight")

        assert [line for line in server.log[before:] if "foresaw" in line or "Traceback" in line] == []

    def test_a_body_that_cannot_be_unpacked_leaves_nothing_in_the_log(
        self, serve: Callable[..., ServerProcess], store_with: Callable[..., object]
    ) -> None:
        store_with("v1.0.0")
        server = serve()
        for path, status in ((PATH, 400), ("/nowhere", 404)):
            with connected(server) as connection:
                connection.sendall(request_bytes("POST", path, GZIPPED, body=GOOD))
                assert read_answer(connection).status == status
                assert connection.recv(1) == b""  # it is closed once what there is to log was logged
        assert server.stop() == 0
        assert server.reader is not None
        server.reader.join(10)

        assert [line for line in server.log if "Traceback" in line or "rror" in line] == []
        assert "stopped" in server.log[-1]


def _in_flight(server: ServerProcess) -> int:
    text = server.request("/metrics").body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("recsys_http_requests_in_flight ")]
    return int(float(line.split()[1]))


def test_a_problem_never_repeats_what_was_sent(server: ServerProcess) -> None:
    """A body may hold what nobody wants in a log or on a page."""
    body = json.dumps({"ratings": [{"item_id": "1", "rating": "<script>secret</script>"}]}).encode()
    answer = exchange(server, request_bytes("POST", PATH, body=body))

    problem_of(answer, 400)
    assert b"secret" not in answer.body
