"""A query string is read as the library reads it, by the short way too."""

from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from recsys.web.inputs import pairs_of

#: A percent sign only where it means a character: what is no text is refused, which another test says.
PIECES = ("a", "b", "=", "&", ";", "2", "0", " ", "+", "ü", "/", "%20", "%3D", "%26", "%2B", "%25", "%C3%BC")


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example("=")
@example("a&b=&=c&&=&a==b")
@example("a=1+2&b=%20")
def test_pairs_are_those_of_the_library(text: str) -> None:
    url = URL.build(path="/", query_string=text, encoded=True)

    assert list(pairs_of(url)) == list(url.query.items())
