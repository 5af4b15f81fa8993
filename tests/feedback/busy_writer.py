"""A process that takes in ratings as a service does, and says on its standard output what it acknowledged.

Arguments: state directory, first number, then numbers whose acknowledgement the one before may not have told. Each
rating has its number as event id, so that sending it again is harmless. The indexes are brought on all the time.
"""

import asyncio
import os
import sys
from pathlib import Path

from recsys.feedback import indexes
from recsys.feedback.changes import PutRatings, Rating
from recsys.feedback.ingest import Ingest
from recsys.feedback.store import FeedbackStore

CLIENTS = 16


def rating(number: int) -> Rating:
    return Rating(f"user{number % 100}", f"item{number}", 1.0 + number % 5, 1000 + number, f"event {number}")


async def main(state: Path, start: int, again: list[int]) -> None:
    indexes._WAITING = 100
    store = FeedbackStore(state)
    store.open()
    ingest = Ingest(store, known=store.sequence, on_written=lambda _: None, on_outside=lambda _: None)
    ingest.start()

    async def client(which: int) -> None:
        numbers = again[which::CLIENTS]
        while True:
            await ingest.submit(PutRatings(tuple(map(rating, numbers)))) if numbers else None
            os.write(1, "".join(f"ack {number}\n" for number in numbers).encode())
            step = next(counter)
            numbers = list(range(start + 3 * step, start + 3 * step + 1 + step % 3))
            os.write(1, "".join(f"sent {number}\n" for number in numbers).encode())

    counter = iter(range(10**9))
    await asyncio.gather(*(client(which) for which in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), [int(number) for number in sys.argv[3:]]))
