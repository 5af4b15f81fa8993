"""The design that the project replaces: FastAPI under uvicorn with four workers, each with the factors in memory and an
`lru_cache` of 128 answers. Written as its own documentation would have it, for `uvicorn benchmarks.fastapi_design:app`.

BENCH_FACTORS names the directory that `design` has written.
"""

import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Query
from pydantic import BaseModel

_DIRECTORY = Path(os.environ["BENCH_FACTORS"])
_user_factors = np.load(_DIRECTORY / "users.npy")
_item_factors = np.load(_DIRECTORY / "items.npy")
_seen_items = np.load(_DIRECTORY / "seen_items.npy")
_seen_starts = np.load(_DIRECTORY / "seen_starts.npy")
_items = json.loads((_DIRECTORY / "items.json").read_text())
_index = {user: row for row, user in enumerate(json.loads((_DIRECTORY / "users.json").read_text()))}


class Item(BaseModel):
    item_id: str
    title: str
    year: int | None
    genres: list[str]
    score: float


class Answer(BaseModel):
    user_id: str
    model_version: str
    strategy: str
    items: list[Item]


app = FastAPI()


@lru_cache(maxsize=128)
def recommend(user_id: str, n: int) -> Answer:
    row = _index.get(user_id)
    if row is None:
        return Answer(user_id=user_id, model_version="v1.0.0", strategy="popular", items=[])
    scores = _item_factors @ _user_factors[row]
    scores[_seen_items[_seen_starts[row] : _seen_starts[row + 1]]] = -np.inf
    best = np.argpartition(-scores, n)[:n]
    best = best[np.argsort(-scores[best])]
    items = [Item(**_items[i], score=float(scores[i])) for i in best]
    return Answer(user_id=user_id, model_version="v1.0.0", strategy="personalized", items=items)


@app.get("/api/v1/users/{user_id}/recommendations")
async def recommendations(user_id: str, n: int = Query(10, ge=1, le=500)) -> Answer:
    return recommend(user_id, n)
