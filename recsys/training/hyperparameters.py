"""The model's hyperparameters, by their papers' names. Must stay light: the server imports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """Of EDLAE: λ = `ridge`, p = `dropout`, β = `user_scaling`, α = `item_scaling`; of the question: `half_life` (see
    `Weighting`). `max_items` bounds the matrix: only the most rated items are modelled.
    """

    ridge: float = 400.0
    dropout: float = 0.3
    user_scaling: float = 0.1
    item_scaling: float = 0.1
    half_life: float = 0.25
    max_items: int = 20_000
