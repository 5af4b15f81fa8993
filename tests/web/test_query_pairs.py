"""A query string is read as the library reads it, by the short way too."""

from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from recsys.web.inputs import pairs_of


@given(st.text(alphabet="ab=&;%2 0+ü/", max_size=30).filter(lambda text: "%" not in text or "%20" in text))
@example("=")
@example("a&b=&=c&&=&a==b")
@example("a=1+2&b=%20")
def test_pairs_are_those_of_the_library(text: str) -> None:
    url = URL.build(path="/", query_string=text, encoded=True)

    assert list(pairs_of(url)) == list(url.query.items())
