"""Every error the project raises on purpose: one root, a stable code, an HTTP status, and a hint for the reader.

`web.problems` renders these as problem+json and `cli.main` as one line; nothing else translates errors.
Must not import anything of the project.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: where (`query.n`, `ratings[3].rating`, `u.data:17`) and what."""

    where: str
    problem: str


class RecsysError(Exception):
    """Root of all expected failures. `status` is the HTTP status, `code` is stable for programs."""

    status = 500
    code = "internal"
    title = "Something went wrong"

    def __init__(self, detail: str, *, hint: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


class InvalidInputError(RecsysError):
    """A parameter, a body or an argument that cannot be used; `problems` names each field."""

    status, code, title = 400, "invalid_input", "The request is not valid"


class SettingsError(RecsysError):
    """A setting that cannot be used; stops the start."""

    status, code, title = 500, "invalid_settings", "A setting is wrong"


class DataError(RecsysError):
    """Ratings or catalogue files that cannot be read or trusted."""

    status, code, title = 422, "invalid_data", "The data set cannot be used"


class UnknownItemError(RecsysError):
    status, code, title = 404, "unknown_item", "No such item"


class UnknownVersionError(RecsysError):
    status, code, title = 404, "unknown_version", "No such model version"


class VersionTakenError(RecsysError):
    status, code, title = 409, "version_taken", "That version exists already"


class VersionInvalidError(RecsysError):
    """A version directory that does not agree with its manifest, or whose manifest cannot be used."""

    status, code, title = 422, "version_invalid", "The model version is not valid"


class VersionIncompleteError(VersionInvalidError):
    """A directory that may still be being copied: no manifest yet, a file missing, or a file too short."""

    code = "version_incomplete"


class StoreError(RecsysError):
    """The model store cannot be read or written (permissions, a full disk)."""

    status, code, title = 503, "store_unavailable", "The model store is not available"


class ModelNotReadyError(RecsysError):
    status, code, title = 503, "model_not_ready", "There is no model yet"


class TrainingError(RecsysError):
    """A training run that ended without a version."""

    status, code, title = 500, "training_failed", "Training failed"


class UnknownJobError(RecsysError):
    status, code, title = 404, "unknown_job", "No such job"


class JobEndedError(RecsysError):
    status, code, title = 409, "job_ended", "The job has ended already"


class NotSignedInError(RecsysError):
    status, code, title = 401, "not_signed_in", "This address needs a token or a key"


class WrongTokenError(RecsysError):
    status, code, title = 403, "wrong_token", "That token or key is not the right one"


class TooManyTriesError(RecsysError):
    status, code, title = 429, "too_many_tries", "Too many wrong tokens"


class TooManyListenersError(RecsysError):
    status, code, title = 503, "too_many_listeners", "Too many listeners"


class NothingToRollBackError(RecsysError):
    status, code, title = 409, "nothing_to_roll_back", "There is no version to roll back to"


class PinnedBySettingError(RecsysError):
    status, code, title = 409, "pinned_by_setting", "The pin comes from a setting"


class EventConflictError(RecsysError):
    """An `event_id` that came in before, with another rating."""

    status, code, title = 409, "event_id_taken", "That event id was used for another rating"


class FeedbackUnavailableError(RecsysError):
    """Feedback cannot be read or written now (a full disk, no permission, a lock); what was acknowledged is safe."""

    status, code, title = 503, "feedback_unavailable", "Ratings cannot be kept now"


class FeedbackFullError(RecsysError):
    """More is waiting to be written than may wait."""

    status, code, title = 503, "too_many_ratings", "Too many ratings are waiting to be written"


class FeedbackCorruptError(FeedbackUnavailableError):
    """A feedback database that cannot be trusted; stops the start, and is left as it is."""

    code, title = "feedback_corrupt", "The feedback database is damaged"


class UnknownRatingError(RecsysError):
    status, code, title = 404, "unknown_rating", "No such rating"


class BucketError(RecsysError):
    """The bucket cannot be reached or does not answer as it should. `passing` says that trying again may help."""

    status, code, title = 503, "bucket_unavailable", "The bucket is not available"

    def __init__(self, detail: str, *, hint: str | None = None, passing: bool = True) -> None:
        super().__init__(detail, hint=hint)
        self.passing = passing


class ObjectMissingError(BucketError):
    status, code, title = 404, "object_missing", "There is no such object in the bucket"


class LostRaceError(BucketError):
    """A conditional write that somebody else's write came before."""

    status, code, title = 409, "lost_race", "Somebody else was first"


class NoCredentialsError(BucketError):
    code = "no_credentials"


class NotSupportedError(BucketError):
    """The store does not know what it was asked for."""

    code = "not_supported"


class NoBucketError(RecsysError):
    status, code, title = 409, "no_bucket", "There is no bucket"


class PointerRefusedError(RecsysError):
    """A pointer in the bucket that must not be followed."""

    status, code, title = 409, "pointer_refused", "The bucket's pointer is refused"


class PullOnlyError(RecsysError):
    status, code, title = 409, "pull_only", "This service only follows the bucket"


class AnotherTrainsError(RecsysError):
    """A training run that is not this service's to do, or no longer."""

    status, code, title = 409, "another_trains", "Another service trains"
