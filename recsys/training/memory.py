"""How much memory a run will need, so that one that cannot fit is refused before it starts. Pure."""

from recsys.errors import TrainingError

_MB = 2**20
#: Measured on ml-100k, latest-small and made-up data up to 8,000 items; a test holds the estimate against reality.
_BASE_BYTES = 60 * _MB
_BYTES_A_RATING = 260
_BYTES_AN_ITEM = 3_000
_MATRIX_COPIES = 1.5


def estimate_bytes(n_users: int, n_items: int, n_ratings: int, *, max_items: int) -> int:
    """Return the memory that training will take at its peak, beyond that of the libraries.

    The n_items² matrix decides: it is inverted in place, in float32, and half of it again is needed around that.
    """
    n_modelled = min(n_items, max_items)
    matrix = int(_MATRIX_COPIES * 4 * n_modelled * n_modelled)
    return _BASE_BYTES + matrix + _BYTES_A_RATING * n_ratings + _BYTES_AN_ITEM * (n_items + n_users)


def refuse_beyond(limit_mb: int | None, needed_bytes: int) -> None:
    """Errors: TrainingError when the estimate is above the limit."""
    if limit_mb is not None and needed_bytes > limit_mb * _MB:
        raise TrainingError(
            f"training would need about {needed_bytes / _MB:.0f} MB, more than the limit of {limit_mb} MB",
            hint="raise RECSYS_RETRAINING__MEMORY_LIMIT_MB, or lower RECSYS_TRAINING__MAX_ITEMS",
        )
