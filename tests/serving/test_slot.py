import gc
import weakref
from typing import Any, cast

import pytest

from recsys.errors import ModelNotReadyError
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot


class Model:
    """Stands for a model: the slot asks for nothing but its version."""

    version = "v1.0.0"


def a_model() -> ServedModel:
    return cast("ServedModel", Model())


def test_before_the_first_model_there_is_none_to_take() -> None:
    slot = Slot()

    assert slot.current is None
    with pytest.raises(ModelNotReadyError) as caught:
        slot.take()
    assert caught.value.status == 503


def test_what_is_taken_is_what_was_swapped_in_last() -> None:
    slot = Slot()
    first, second = a_model(), a_model()

    slot.swap(first)
    taken = slot.take()
    slot.swap(second)

    assert taken is first
    assert slot.take() is second
    assert slot.previous == first.version


def test_a_model_goes_with_the_last_request_that_took_it() -> None:
    slot = Slot()
    slot.swap(a_model())
    taken: Any = slot.take()
    gone = weakref.ref(taken)

    slot.swap(a_model())
    gc.collect()
    assert gone() is taken

    del taken
    assert gone() is None
