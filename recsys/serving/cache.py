"""A cache with a bound in bytes, for what hangs on a model."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Keeps what was used last, up to a number of bytes. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[object, tuple[Value, int]] = OrderedDict()

    def get(self, key: object) -> Value | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def latest(self) -> list[object]:
        """The keys, the latest used first. Safe from another thread: the copy is one step of the interpreter."""
        return list(self._kept)[::-1]

    def put(self, key: object, value: Value, n_bytes: int) -> None:
        if n_bytes > self._max_bytes:
            return
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= old[1]
        self._kept[key] = (value, n_bytes)
        self._bytes += n_bytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]
