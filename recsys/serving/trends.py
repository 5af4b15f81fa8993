"""Trending items, made in a thread and kept for a while: a list that fades over days need not be of this second."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from recsys.feedback.live import LiveFeedback
from recsys.feedback.trending import trending
from recsys.serving.served import ServedModel

#: For so long a list stands; while few ratings have come in, each new one makes it anew.
_STANDS_S = 30.0
_FEW = 20_000

_Kept = tuple[int, float, dict[str, float]]


class Trends:
    """Trending items of the last so many days. One is made at a time, and one kept for each number."""

    def __init__(self, feedback: LiveFeedback, workers: ThreadPoolExecutor) -> None:
        self._feedback = feedback
        self._workers = workers
        self._kept: dict[int, _Kept] = {}
        self._one_at_a_time = asyncio.Lock()

    async def of(self, model: ServedModel, days: int) -> list[tuple[int, float]]:
        """Positions in `model` and scores, best first."""
        async with self._one_at_a_time:
            if not self._stands(days):
                await self._make(model, days)
            scores = self._kept[days][2]
        index = model.item_index
        return [(index[item_id], score) for item_id, score in scores.items() if item_id in index]

    def _stands(self, days: int) -> bool:
        if days not in self._kept:
            return False
        overlay, (sequence, made, _) = self._feedback.overlay, self._kept[days]
        age = self._feedback.clock() - made
        return 0 <= age < _STANDS_S and (overlay.sequence == sequence or overlay.n_events > _FEW)

    async def _make(self, model: ServedModel, days: int) -> None:
        overlay, now = self._feedback.overlay, self._feedback.clock()
        sequence, scale = overlay.sequence, model.servable.contents.scale
        loop = asyncio.get_running_loop()
        scores = await loop.run_in_executor(self._workers, lambda: trending(overlay, scale, now=now, days=days))
        self._kept[days] = sequence, now, scores
