"""Rows as one table that a person reads."""

from collections.abc import Mapping

from benchmarks.world import Row

_VERDICTS = {True: "met", False: "MISSED", None: ""}


def render(about: Mapping[str, object], rows: list[Row]) -> str:
    lines = ["  ".join(f"{name} {value}" for name, value in about.items())]
    part = ""
    wide = max((len(row.what) for row in rows), default=0)
    for row in rows:
        if row.part != part:
            part = row.part
            lines += ["", part]
        numbers = "  ".join(f"{name} {_number(value)}" for name, value in row.measured.items())
        target = f"  [{row.target}: {_VERDICTS[row.met]}]" if row.target else ""
        lines.append(f"  {row.what:<{wide}}  {numbers}{target}")
    return "\n".join(lines)


def _number(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return str(value)
