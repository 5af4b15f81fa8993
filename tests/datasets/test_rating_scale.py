import numpy as np
import pytest

from recsys.datasets.ratings import RatingScale


@pytest.mark.parametrize("values", [[1.1, 2.5, 4.9], [12.34, 56.78, 99.01], [0.7], [0.1, 123456.78]])
def test_a_scale_of_their_own_holds_the_ratings_it_was_found_in(values: list[float]) -> None:
    """Also those of which float32 makes a little more or less."""
    scale = RatingScale.of(np.array(values, np.float32))

    assert [True] * len(values) == [scale.contains(value) for value in values]
    assert not scale.contains(values[0] - 0.01)
    assert not scale.contains(values[-1] + 0.01)
