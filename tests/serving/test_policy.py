"""The policy, read as a table and held to its promises for every situation there can be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.artifacts.version import Version
from recsys.serving.policy import Decision, Situation, decide, rollback_target

V1, V2, V3 = Version(1, 0, 0), Version(1, 0, 1), Version(1, 0, 2)
GOOD, REJECTED = True, False

TABLE: dict[str, tuple[dict[str, Any], Version | None, str, str | None]] = {
    "nothing is there": ({}, None, "nothing to serve", None),
    "the highest accepted": ({"available": {V1: GOOD, V2: GOOD}}, V2, "highest accepted", None),
    "a rejected one is never served by itself": ({"available": {V1: GOOD, V2: REJECTED}}, V1, "highest accepted", None),
    "only rejected ones": ({"available": {V1: REJECTED}}, None, "nothing to serve", None),
    "a higher one takes over": ({"available": {V1: GOOD, V2: GOOD}, "serving": V1}, V2, "highest accepted", None),
    "what is served stays": ({"available": {V1: GOOD}, "serving": V1}, V1, "highest accepted", None),
    "never below what is served": (
        {"available": {V1: GOOD}, "serving": V2}, V2, "highest accepted", "v1.0.1 is served from memory",
    ),
    "an empty directory unloads nothing": ({"serving": V1}, V1, "highest accepted", "v1.0.0 is served from memory"),
    "a failed one is not available": (
        {"available": {V1: GOOD}, "failed": frozenset({V2})}, V1, "highest accepted", None,
    ),
    "a pin wins over a higher one": ({"available": {V1: GOOD, V2: GOOD}, "pin": V1, "serving": V2}, V1, "pin", None),
    "a pin wins over the pointer": ({"available": {V1: GOOD, V2: GOOD}, "pin": V1, "pointer": V2}, V1, "pin", None),
    "a rejected one can be pinned": ({"available": {V1: GOOD, V2: REJECTED}, "pin": V2}, V2, "pin", None),
    "a pinned one that is gone is kept from memory": (
        {"available": {V2: GOOD}, "pin": V1, "serving": V1}, V1, "pin", "v1.0.0 is served from memory",
    ),
    "a pin on what is not there keeps what is served": (
        {"available": {V1: GOOD, V2: GOOD}, "pin": V3, "serving": V1}, V1, "kept", "v1.0.2, which is not there",
    ),
    "a pin on what has failed keeps what is served": (
        {"available": {V1: GOOD, V2: GOOD}, "pin": V3, "serving": V1, "failed": frozenset({V3})},
        V1, "kept", "the pin names v1.0.2, which has failed",
    ),
    "a pin on what is not there, at start: the next best": (
        {"available": {V1: GOOD, V2: GOOD}, "pin": V3}, V2, "highest accepted", "v1.0.2, which is not there",
    ),
    "a pin on what is not there, at start, with a pointer": (
        {"available": {V1: GOOD, V2: GOOD}, "pin": V3, "pointer": V1},
        V1, "pointer", "v1.0.2, which is not there",
    ),
    "a pin on what is not there, and nothing else": ({"pin": V3}, None, "nothing to serve", "the pin names v1.0.2"),
    "the pointer wins over the highest": (
        {"available": {V1: GOOD, V2: GOOD}, "pointer": V1, "serving": V2}, V1, "pointer", None,
    ),
    "a pointer to what is not there keeps what is served": (
        {"available": {V1: GOOD, V3: GOOD}, "pointer": V2, "serving": V1}, V1, "kept", "the pointer names v1.0.1",
    ),
    "a lifted pin on a rejected one lets an accepted one back": (
        {"available": {V1: GOOD, V2: REJECTED}, "serving": V2, "serving_accepted": REJECTED},
        V1, "highest accepted", None,
    ),
    "a lifted pin on a rejected one, with nothing accepted": (
        {"available": {V2: REJECTED}, "serving": V2, "serving_accepted": REJECTED}, V2, "kept", "no accepted version",
    ),
    "a lifted pin on a lower one goes back up": (
        {"available": {V1: GOOD, V2: GOOD}, "serving": V1}, V2, "highest accepted", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_", "version", "because", "degraded"), TABLE.values(), ids=TABLE)
def test_the_table(given_: dict[str, Any], version: Version | None, because: str, degraded: str | None) -> None:
    decision = decide(Situation(**({"available": {}} | given_)))

    assert (version, because) == (decision.version, decision.because)
    if degraded is None:
        assert decision.degraded is None
    else:
        assert degraded in str(decision.degraded)


versions = st.builds(Version, st.just(1), st.integers(0, 1), st.integers(0, 2))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    available = draw(st.dictionaries(versions, st.booleans()))
    failed = draw(st.frozensets(versions)) - available.keys()
    serving = draw(st.none() | versions)
    return Situation(
        available=available,
        pin=draw(st.none() | versions),
        pointer=draw(st.none() | versions),
        serving=serving,
        # the verdict on disk and in memory is the same, unless the version was condemned, and then it is not available
        serving_accepted=available.get(serving, draw(st.booleans())) if serving else True,
        failed=failed,
    )


def servable(situation: Situation) -> set[Version]:
    return set(situation.available) | ({situation.serving} if situation.serving else set())


@given(situations())
def test_it_never_unloads(situation: Situation) -> None:
    if situation.serving is not None:
        assert decide(situation).version is not None


@given(situations())
def test_it_serves_only_what_can_be_served(situation: Situation) -> None:
    assert decide(situation).version in servable(situation) | {None}


@given(situations())
def test_it_is_deterministic_and_does_not_hang_on_the_order_of_a_listing(situation: Situation) -> None:
    backwards = Situation(**(vars(situation) | {"available": dict(reversed(situation.available.items()))}))

    assert decide(situation) == decide(situation) == decide(backwards)


@given(situations())
def test_a_pin_that_can_be_had_wins(situation: Situation) -> None:
    if situation.pin in servable(situation) and situation.pin is not None:
        decision = decide(situation)
        assert (situation.pin, "pin") == (decision.version, decision.because)


@given(situations())
def test_a_pin_or_pointer_that_cannot_be_had_is_said(situation: Situation) -> None:
    wanted = situation.pin or situation.pointer
    decision = decide(situation)
    if wanted is not None and decision.version != wanted:
        assert str(wanted) in str(decision.degraded)


@given(situations())
def test_a_rejected_one_is_served_only_when_named_or_already_served(situation: Situation) -> None:
    version = decide(situation).version
    if version is not None and not situation.available.get(version, True):
        assert version in {situation.pin, situation.pointer, situation.serving}


@given(situations())
def test_it_goes_below_what_is_served_only_by_name_or_from_a_rejected_one(situation: Situation) -> None:
    decision = decide(situation)
    if situation.serving is not None and decision.version is not None and decision.version < situation.serving:
        assert decision.because in {"pin", "pointer"} or not situation.serving_accepted


@given(situations())
def test_once_followed_it_asks_for_nothing_else(situation: Situation) -> None:
    decision = decide(situation)
    if decision.version is None:
        return
    accepted = situation.available.get(
        decision.version, situation.serving_accepted if decision.version == situation.serving else True
    )
    after = Situation(**(vars(situation) | {"serving": decision.version, "serving_accepted": accepted}))

    assert decision.version == decide(after).version


@given(situations())
def test_what_is_served_although_its_files_are_gone_is_said(situation: Situation) -> None:
    decision = decide(situation)
    if decision.version is not None and decision.version not in situation.available:
        assert decision.degraded is not None


@given(situations())
def test_a_rollback_goes_to_the_next_accepted_below(situation: Situation) -> None:
    target = rollback_target(situation)
    serving = situation.serving
    below = {v for v, accepted in situation.available.items() if accepted and serving is not None and v < serving}

    assert target == max(below, default=None)


@given(situations())
def test_a_rollback_that_is_pinned_is_followed(situation: Situation) -> None:
    target = rollback_target(situation)
    if target is not None:
        assert decide(Situation(**(vars(situation) | {"pin": target}))) == Decision(target, "pin")
