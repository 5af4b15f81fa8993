"""Ratings that were acknowledged over HTTP outlive the service, however it ends: none is lost, none is there twice."""

import random
import signal
import time
from collections.abc import Callable

import pytest
from rating_clients import Clients, Sent, item_ids, kept, n_stored, resend
from service import ServerProcess

Serve = Callable[..., ServerProcess]
StoreWith = Callable[..., object]
CI_KILLS, ALL_KILLS = 8, 200
#: More than a life's clients can get through.
USERS_A_LIFE = 10_000
GRACE_S = 10


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_under_write_load_loses_nothing_acknowledged_and_doubles_nothing(
    serve: Serve, store_with: StoreWith, full: bool
) -> None:
    dice = random.Random(20240229)
    store_with("v1.0.0")
    server = serve()
    ids = item_ids(server)
    lives: list[Sent] = []
    n_before = n_unknown = 0
    for kill in range(ALL_KILLS if full else CI_KILLS):
        # at times while the first of them are only being written
        delay_s = dice.uniform(0, 0.02 if kill % 4 == 3 else 0.5)
        moment = f"kill {kill}: {delay_s:.4f} s after the first acknowledgement"
        sent = Sent(ids, start=kill * USERS_A_LIFE * len(ids))
        lives.append(sent)
        clients = Clients(server, sent, seed=kill)
        assert clients.first_acknowledged.wait(20), (moment, clients.refused)
        time.sleep(delay_s)  # not to wait for anything: it is the moment itself
        server.process.kill()
        server.process.wait(10)
        clients.join()
        assert clients.refused == [], moment

        server = serve()

        print(moment)  # shown by pytest if what follows fails
        assert server.request("/health").json["status"] == "ok"
        assert n_stored(server) - n_before == len(kept(server, sent))
        n_unknown += sum(map(len, sent.unknown))
        resend(server, sent)
        assert sent.rows() == set(kept(server, sent))
        n_before += len(sent.rows())
        assert n_before == n_stored(server)
    assert n_unknown, "no kill was in the middle of anything"
    for sent in lives:
        assert sent.rows() == set(kept(server, sent))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_write_load_is_clean_and_keeps_all_that_was_acknowledged(
    serve: Serve, store_with: StoreWith, number: signal.Signals
) -> None:
    store_with("v1.0.0")
    server = serve()
    sent = Sent(item_ids(server))
    clients = Clients(server, sent, n_clients=16)
    server.wait_for(lambda: len(sent.acknowledged) > 500, "busy", 30)

    started = time.monotonic()
    assert server.stop(number, timeout_s=GRACE_S) == 0
    took_s = time.monotonic() - started
    clients.join()

    assert took_s < GRACE_S
    assert clients.refused == []
    assert not any("Traceback" in line or "could not be written" in line for line in server.log)
    again = serve()
    assert n_stored(again) == len(kept(again, sent))
    resend(again, sent)
    assert sent.rows() == set(kept(again, sent))
