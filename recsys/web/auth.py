"""Who may use /admin: whoever has the token, or a session that was begun with it. The token is compared in constant
time, and guessing is limited. And who may write ratings.

Owns where the token comes from. Its value goes into no log, no answer and no error.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import hdrs, web

from recsys.errors import NotSignedInError, SettingsError, TooManyTriesError, WrongTokenError
from recsys.settings import MIN_TOKEN_LENGTH, Settings
from recsys.web.sessions import Sessions

_MAX_TRIES = 10
_WINDOW_S = 60.0
_MAX_ADDRESSES = 1024


def token_place(settings: Settings) -> str:
    """Say where the token is, never what it is."""
    if settings.admin.token is not None:
        return "RECSYS_ADMIN__TOKEN"
    return str(settings.admin.token_file or settings.paths.state / "admin-token")


def read_token(settings: Settings) -> str:
    """Return the token of the settings, of their file, or the one in the state directory, made there (0600) at first.

    Errors: SettingsError for a file that cannot be read or holds too short a token.
    """
    if settings.admin.token is not None:
        return settings.admin.token.get_secret_value()
    if settings.admin.token_file is not None:
        return _read(settings.admin.token_file, "RECSYS_ADMIN__TOKEN_FILE")
    path = settings.paths.state / "admin-token"
    try:
        if not path.exists() or path.stat().st_size == 0:
            _make(path)
    except OSError as error:
        raise SettingsError(f"the admin token cannot be written to {path}: {error.strerror}") from error
    return _read(path, "the admin token")


def _make(path: Path) -> None:
    """Fill the file unless another process does so first; one that a crash left empty is filled now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not file.read():
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path, name: str) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: {path} cannot be read: {error}") from error
    if len(token) < MIN_TOKEN_LENGTH:
        raise SettingsError(f"{name}: {path} holds fewer than {MIN_TOKEN_LENGTH} characters")
    return token


class AdminAuth:
    """Checks requests against one token, and against the sessions that were begun with it."""

    def __init__(self, token: str, sessions: Sessions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._sessions = sessions
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, request: web.Request) -> None:
        """Errors: NotSignedInError, WrongTokenError, CrossOriginError for a session used from elsewhere, and
        TooManyTriesError after ten wrong tokens in a minute, by address.
        """
        if hdrs.AUTHORIZATION not in request.headers and self._sessions.holds(request):
            return
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise NotSignedInError("send Authorization: Bearer <token>", hint="`recsys token` says where it is")
        address = request.remote or ""
        now = self._clock()
        recent = [moment for moment in self._tries.get(address, ()) if now - moment < _WINDOW_S]
        if len(recent) >= _MAX_TRIES:
            raise TooManyTriesError("wait a minute before the next try")
        # a header may hold bytes that are no text
        digest = hashlib.sha256(given.strip().encode(errors="surrogateescape")).digest()
        if not hmac.compare_digest(digest, self._digest):
            self._tries[address] = [*recent, now]
            self._tries.move_to_end(address)
            while len(self._tries) > _MAX_ADDRESSES:
                self._tries.popitem(last=False)
            raise WrongTokenError("the token is not the right one", hint="`recsys token` says where it is")
        self._tries.pop(address, None)


class ApiKeys:
    """Who may write ratings: everybody, unless keys are listed; then whoever sends one of them."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)

    def check(self, request: web.Request) -> None:
        """Errors: NotSignedInError, WrongTokenError. Every key is looked at, so time tells nothing."""
        if not self._digests:
            return
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise NotSignedInError("send Authorization: Bearer <key>", hint="RECSYS_API__KEYS_FILE lists the keys")
        digest = hashlib.sha256(given.strip().encode(errors="surrogateescape")).digest()
        if not sum(hmac.compare_digest(digest, one) for one in self._digests):
            raise WrongTokenError("the key is not on the list", hint="RECSYS_API__KEYS_FILE lists the keys")


def read_keys(settings: Settings) -> ApiKeys:
    """Read the list of keys, one a line; lines that begin with # are comments.

    Errors: SettingsError for a file that cannot be read, is empty, or has too short a key.
    """
    path = settings.api.keys_file
    if path is None:
        return ApiKeys()
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"RECSYS_API__KEYS_FILE: {path} cannot be read: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise SettingsError(f"RECSYS_API__KEYS_FILE: {path} lists no key", hint="unset it to let everybody write")
    if any(len(key) < MIN_TOKEN_LENGTH for key in keys):
        raise SettingsError(f"RECSYS_API__KEYS_FILE: {path} has a key of fewer than {MIN_TOKEN_LENGTH} characters")
    return ApiKeys(keys)
