"""What aiobotocore, botocore and aiohttp raise, said once in our words. Imported with the bucket's edge only."""

import aiohttp
from botocore import exceptions as botocore

from recsys.errors import BucketError, LostRaceError, NoCredentialsError, NotSupportedError, ObjectMissingError

#: Answers of status 400 that a second try may put right: what was sent was damaged or broken off on its way.
_DAMAGED = frozenset({"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch"})
_CREDENTIALS_HINT = "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or the machine's role"


def translate(error: Exception, bucket: str, key: str, timeout_s: float) -> Exception | None:
    """Return what to raise: an error that is none of a bucket's as it is. None is for "not modified"."""
    where = f"{bucket}: {key}"
    if isinstance(error, botocore.ClientError):
        return None if _status(error) == 304 else _answered(error, where)
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return NoCredentialsError(f"{bucket}: there are no credentials", hint=_CREDENTIALS_HINT, passing=False)
    if isinstance(error, botocore.CredentialRetrievalError):
        return NoCredentialsError(f"{bucket}: the credentials cannot be had", hint=_CREDENTIALS_HINT, passing=False)
    if isinstance(error, botocore.SSLError):
        return BucketError(f"{bucket}: its certificate cannot be trusted", hint="AWS_CA_BUNDLE names another root")
    if isinstance(error, TimeoutError | botocore.ReadTimeoutError | botocore.ConnectTimeoutError):
        return BucketError(f"{where}: no answer within {timeout_s:g} s", hint="RECSYS_S3__TIMEOUT_S")
    if isinstance(error, botocore.EndpointConnectionError):
        return BucketError(f"{bucket}: cannot be reached", hint="RECSYS_S3__ENDPOINT_URL and the network")
    if isinstance(error, botocore.ParamValidationError | botocore.NoRegionError):
        return BucketError(f"{where}: {type(error).__name__}", hint="see the settings RECSYS_S3__…", passing=False)
    if isinstance(error, botocore.BotoCoreError | aiohttp.ClientError | OSError):
        return BucketError(f"{where}: the connection broke ({type(error).__name__})")
    return error


def _status(error: botocore.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answered(error: botocore.ClientError, where: str) -> BucketError:
    status, code = _status(error), str(error.response.get("Error", {}).get("Code", ""))
    said = f"{where}: the store answers {status} {code}".rstrip()
    if status == 412:
        return LostRaceError(f"{where}: somebody else has written it", passing=False)
    if code == "NoSuchBucket":
        return BucketError(said, hint="RECSYS_S3__BUCKET names a bucket that is not there", passing=False)
    if status == 404:
        return ObjectMissingError(f"{where}: is not there", passing=False)
    if code == "RequestTimeTooSkewed":
        return BucketError(said, hint="the clock of this machine is wrong", passing=False)
    if code in ("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId"):
        return NoCredentialsError(said, hint=_CREDENTIALS_HINT, passing=False)
    if status in (401, 403):
        return BucketError(said, hint="the guide lists the permissions that are needed", passing=False)
    if status == 501:
        return NotSupportedError(said, passing=False)
    passing = status in (0, 408, 409, 429) or status >= 500 or code in _DAMAGED
    return BucketError(said, passing=passing)
