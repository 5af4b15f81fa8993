"""Listeners hear everything once and in order, may go on where they stopped, and cannot hold anybody up."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from recsys.errors import TooManyListenersError
from recsys.jobs.events import Event, EventHub

_LONG_S = 30.0
_KEPT, _QUEUE, _LISTENERS = 500, 200, 32


def _numbers(events: list[Event]) -> list[int]:
    return [event.data["n"] for event in events]


def _publish(hub: EventHub, *numbers: int) -> None:
    for number in numbers:
        hub.publish("job", {"n": number})


async def _connected(
    hub: EventHub, after: int | None = None, heartbeat_s: float = _LONG_S
) -> AsyncIterator[Event | None]:
    """A listener that has had the first heartbeat, which says that it is connected."""
    stream = hub.listen(after, heartbeat_s)
    assert await anext(stream) is None
    return stream


async def _next(stream: AsyncIterator[Event | None], count: int) -> list[Event]:
    received = [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]
    assert None not in received
    return [event for event in received if event is not None]


async def _rest(stream: AsyncIterator[Event | None]) -> list[Event]:
    """All until the stream ends by itself."""
    async with asyncio.timeout(5):
        return [event async for event in stream if event is not None]


async def test_a_listener_hears_what_is_published_from_then_on() -> None:
    hub = EventHub()
    _publish(hub, 1)
    stream = await _connected(hub)
    _publish(hub, 2, 3)
    assert _numbers(await _next(stream, 2)) == [2, 3]


async def test_every_listener_hears_everything() -> None:
    hub = EventHub()
    streams = [await _connected(hub) for _ in range(3)]
    _publish(hub, 1, 2)
    for stream in streams:
        assert _numbers(await _next(stream, 2)) == [1, 2]


async def test_ids_rise_within_a_life_and_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for started_at in (datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)):
        monkeypatch.setattr("recsys.jobs.events.datetime", SimpleNamespace(now=lambda _, at=started_at: at))
        hub = EventHub()
        stream = await _connected(hub)
        _publish(hub, *range(100))
        ids += [event.id for event in await _next(stream, 100)]
    assert sorted(set(ids)) == ids


async def test_who_comes_back_with_an_id_hears_what_came_after_it_once() -> None:
    hub = EventHub()
    stream = await _connected(hub)
    _publish(hub, 1, 2, 3)
    first, *_ = await _next(stream, 3)
    again = await _connected(hub, after=first.id)
    _publish(hub, 4)
    assert _numbers(await _next(again, 3)) == [2, 3, 4]


async def test_an_event_between_connecting_and_the_replay_is_heard_once() -> None:
    hub = EventHub()
    _publish(hub, 1, 2)
    again = await _connected(hub, after=0)
    assert _numbers(await _next(again, 1)) == [1]
    _publish(hub, 3)
    assert _numbers(await _next(again, 2)) == [2, 3]


async def test_replay_goes_back_as_far_as_the_last_500() -> None:
    hub = EventHub()
    _publish(hub, *range(_KEPT + 100))
    stream = await _connected(hub, after=0)
    assert list(range(100, _KEPT + 100)) == _numbers(await _next(stream, _KEPT))


async def test_an_id_of_the_future_replays_nothing() -> None:
    hub = EventHub()
    _publish(hub, 1)
    stream = await _connected(hub, after=2**62)
    _publish(hub, 2)
    assert _numbers(await _next(stream, 1)) == [2]


async def test_a_heartbeat_comes_when_nothing_happens_and_loses_nothing() -> None:
    hub = EventHub()
    stream = await _connected(hub, heartbeat_s=0.01)
    assert await asyncio.wait_for(anext(stream), 5) is None
    assert await asyncio.wait_for(anext(stream), 5) is None
    _publish(hub, 1)
    received = await asyncio.wait_for(anext(stream), 5)
    assert received is not None
    assert received.data == {"n": 1}


async def test_a_listener_that_is_too_slow_is_let_go_and_can_go_on_where_it_stopped() -> None:
    """From the last id that it heard: an event that was dropped before that would be lost for good."""
    hub = EventHub()
    slow, quick = await _connected(hub), await _connected(hub)
    _publish(hub, 0)
    heard = await _next(slow, 1)
    await _next(quick, 1)
    for number in range(1, _QUEUE + 2):
        _publish(hub, number)
        assert _numbers(await _next(quick, 1)) == [number]
    heard += await _rest(slow)
    again = await _connected(hub, after=heard[-1].id)
    heard += await _next(again, _QUEUE + 2 - len(heard))
    assert list(range(_QUEUE + 2)) == _numbers(heard)
    _publish(hub, -1)
    assert _numbers(await _next(quick, 1)) == [-1]


async def test_so_many_listeners_and_no_more() -> None:
    hub = EventHub()
    streams = [await _connected(hub) for _ in range(_LISTENERS)]
    with pytest.raises(TooManyListenersError):
        await _connected(hub)
    await streams[0].aclose()  # type: ignore[attr-defined]
    await _connected(hub)


async def test_closing_ends_every_stream_after_what_it_had_to_hear() -> None:
    hub = EventHub()
    streams = [await _connected(hub) for _ in range(3)]
    _publish(hub, 1)
    hub.close()
    for stream in streams:
        assert _numbers(await _rest(stream)) == [1]


async def test_closing_ends_a_stream_that_is_full_or_being_waited_for() -> None:
    hub = EventHub()
    full, waiting = await _connected(hub), await _connected(hub)
    for number in range(_QUEUE):
        _publish(hub, number)
        await _next(waiting, 1)
    wait = asyncio.ensure_future(_rest(waiting))
    await asyncio.sleep(0)
    hub.close()
    assert await wait == []
    assert len(await _rest(full)) >= _QUEUE - 1


async def test_other_threads_are_heard_in_their_order() -> None:
    hub = EventHub()
    hub.attach()
    stream = await _connected(hub)

    def publish() -> None:
        for number in range(50):
            hub.publish_from_thread("quarantine", {"n": number})

    thread = threading.Thread(target=publish)
    thread.start()
    assert list(range(50)) == _numbers(await _next(stream, 50))
    thread.join()


def test_a_thread_that_speaks_before_the_loop_is_known_does_no_harm() -> None:
    EventHub().publish_from_thread("quarantine", {})
