"""The one mutable reference: which model answers.

A request takes `current` once and keeps that model to its end. Assignment is atomic, and only the watcher assigns.
"""

from recsys.errors import ModelNotReadyError
from recsys.serving.served import ServedModel


class Slot:
    """Holds the model that is served, None before the first."""

    __slots__ = ("current", "previous")

    def __init__(self) -> None:
        self.current: ServedModel | None = None
        self.previous: str | None = None

    def take(self) -> ServedModel:
        """Return the model to answer this request with. Errors: ModelNotReadyError before the first."""
        model = self.current
        if model is None:
            raise ModelNotReadyError("the first model is still on its way", hint="GET /health/ready says how far it is")
        return model

    def swap(self, model: ServedModel) -> None:
        if self.current is not None:
            self.previous = self.current.version
        self.current = model

    def amend(self, model: ServedModel) -> None:
        """Take the same version with other words on its items."""
        self.current = model
