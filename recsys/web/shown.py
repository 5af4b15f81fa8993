"""What became of what was recommended: answers carry an id, and impressions, clicks and watches refer to it.

The id says by itself which version and strategy it was, under a keyed hash, so that no answer has to be remembered.
"""

import asyncio
import base64
import hmac
import itertools
import os
from dataclasses import dataclass

from aiohttp import web

from recsys.errors import FeedbackUnavailableError, InvalidInputError, Problem
from recsys.feedback.changes import RecordShown, Shown
from recsys.feedback.live import LiveFeedback
from recsys.feedback.quality import click_through
from recsys.web.answers import json_response
from recsys.web.inputs import parse_body
from recsys.web.schemas import ShownRequest

_TAG_BYTES = 9
_STRATEGY = b'"strategy":"'
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class RecommendationIds:
    """Makes ids and reads them. `enabled`: answers carry one. The key is the feedback store's."""

    feedback: LiveFeedback
    enabled: bool
    _prefix: str = ""
    _numbers: "itertools.count[int]" = itertools.count(1)

    @classmethod
    def start(cls, feedback: LiveFeedback, *, enabled: bool) -> "RecommendationIds":
        return cls(feedback, enabled, os.urandom(6).hex(), itertools.count(1))

    def put_in(self, answer: bytes, model_version: str) -> bytes:
        """Put a new id into an answer, a JSON object that names its strategy before its items. While there is no key,
        it stays as it is.
        """
        start = answer.index(_STRATEGY) + len(_STRATEGY)
        strategy = answer[start : answer.index(b'"', start)].decode()
        said = f"{model_version}~{strategy}~{self._prefix}{next(self._numbers):x}"
        try:
            tag = self._tag(said)
        except FeedbackUnavailableError:
            return answer
        return b'%b,"recommendation_id":"%b~%b"}' % (answer[:-1], said.encode(), tag.encode())

    def read(self, recommendation_id: str) -> tuple[str, str] | None:
        """Return version and strategy; None for what is no id of ours."""
        said, _, tag = recommendation_id.rpartition("~")
        parts = said.split("~")
        if len(parts) != 3 or not hmac.compare_digest(tag.encode(), self._tag(said).encode()):
            return None
        return parts[0], parts[1]

    def _tag(self, said: str) -> str:
        digest = hmac.digest(self.feedback.shown_key, said.encode(errors="surrogatepass"), "sha256")
        return base64.urlsafe_b64encode(digest[:_TAG_BYTES]).decode()


class ShownRoutes:
    """Handlers over what was counted."""

    def __init__(self, feedback: LiveFeedback, ids: RecommendationIds) -> None:
        self._feedback = feedback
        self._ids = ids

    async def record_events(self, request: web.Request) -> web.Response:
        """Count what was shown, clicked or watched. Each is counted once for an answer and an item."""
        body = await parse_body(ShownRequest, request)
        shown, problems = [], []
        for number, event in enumerate(body.events):
            known = self._ids.read(event.recommendation_id)
            if known is None:
                problems.append(Problem(f"body.events[{number}].recommendation_id", "is none of ours"))
            else:
                shown.append(Shown(event.recommendation_id, event.type, event.item_id, *known))
        if problems:
            raise InvalidInputError(
                f"{problems[0].where}: {problems[0].problem}",
                hint="an answer carries one with RECSYS_FEEDBACK__RECOMMENDATION_IDS=true",
                problems=tuple(problems[:_MAX_PROBLEMS]),
            )
        outcome = await self._feedback.submit(RecordShown(tuple(shown)))
        return json_response({"accepted": outcome.accepted, "duplicates": outcome.duplicates})

    async def quality(self, request: web.Request) -> web.Response:
        """Say how often what was shown was clicked, for each model version and strategy."""
        counts = await asyncio.to_thread(self._feedback.shown_counts)
        rows = click_through(counts)
        return json_response({"items": rows, "total": len(rows), "enabled": self._ids.enabled})
