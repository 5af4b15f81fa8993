"""What came in since the ratings files were made, as a training run takes it in: one moment of the store, and its name.

Must not write: the service has the store open.
"""

from dataclasses import dataclass
from pathlib import Path

from recsys.artifacts.manifest import Cutoff
from recsys.datasets.merge import merge_dataset
from recsys.datasets.ratings import Dataset
from recsys.feedback.changes import user_hash
from recsys.feedback.database import feedback_path
from recsys.feedback.reading import FeedbackReader


@dataclass(frozen=True)
class Learned:
    """What a run learns from; `cutoff` says up to where feedback is in it (None: there is no store)."""

    dataset: Dataset
    cutoff: Cutoff | None


def with_feedback(dataset: Dataset, state: Path | None) -> Learned:
    """Return the files' ratings ⊕ feedback, without those of forgotten users, and without withdrawn films.

    Errors: FeedbackUnavailableError, FeedbackCorruptError, DataError when nothing is left. Cost: that of
    `merge_dataset`, and a second for 1,000,000 events.
    """
    if state is None or not feedback_path(state).exists():
        return Learned(dataset, None)
    reader = FeedbackReader(feedback_path(state))
    changes = reader.changes()
    cutoff = Cutoff(store_id=reader.store_id, sequence=changes.sequence)
    forgotten = {one.user_hash for one in changes.forgotten}
    if not (changes.events.size or changes.items or forgotten):
        return Learned(dataset, cutoff)
    key = reader.key

    def silenced(user_id: str) -> bool:
        return bool(forgotten) and user_hash(key, user_id) in forgotten

    return Learned(merge_dataset(dataset, changes.events, items=changes.items, silenced=silenced), cutoff)
