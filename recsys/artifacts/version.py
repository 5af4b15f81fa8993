"""Version names: `v1.0.3`, ordered as semantic versions. Pure."""

import re
from dataclasses import dataclass
from functools import total_ordering

from recsys.errors import InvalidInputError

_PATTERN = re.compile(r"v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version's name as three numbers."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"

    def __lt__(self, other: "Version") -> bool:
        return (self.major, self.minor, self.patch) < (other.major, other.minor, other.patch)

    @property
    def next_patch(self) -> "Version":
        return Version(self.major, self.minor, self.patch + 1)

    @classmethod
    def find(cls, text: str) -> "Version | None":
        """Return the version that `text` names exactly, None if it names none."""
        match = _PATTERN.fullmatch(text)
        return cls(*(int(part) for part in match.groups())) if match else None

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Like `find`, with an InvalidInputError for what is no version."""
        found = cls.find(text)
        if found is None:
            raise InvalidInputError(f"{text!r} is not a version", hint="one looks like v1.0.3")
        return found


FIRST_VERSION = Version(1, 0, 0)
