"""How much memory a run will need, so that one that cannot fit is refused before it starts. Pure."""

from recsys.errors import TrainingError

_MB = 2**20
#: Measured: resident memory at its peak beyond the loaded libraries, one BLAS thread, numpy 2, against the estimate.
#:
#:     data            users    items    ratings     taken    estimate
#:     sample            600    1,000     39,165     27 MB       59 MB
#:     ml-100k           943    1,682    100,000     65 MB       88 MB
#:     made up        20,000    2,000  1,001,961    144 MB      275 MB
#:     made up         3,000    6,000    305,908    229 MB      461 MB
#:       beside an incumbent of another recipe:     389 MB      461 MB
#:     latest-small      671    9,125    100,004    452 MB      900 MB
#:
#: Another recipe is fitted for the gate while the candidate's matrix is held, hence two copies and more. A test
#: holds the estimate against reality.
_BASE_BYTES = 40 * _MB
_BYTES_A_RATING = 160
_BYTES_AN_ITEM = 2_000
_MATRIX_COPIES = 2.6


def estimate_bytes(n_users: int, n_items: int, n_ratings: int, *, max_items: int) -> int:
    """Return the memory that training will take at its peak, beyond that of the libraries.

    The n_items² matrix decides: it is inverted in place, in float32, and held while that of the incumbent is.
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
