"""Opens a bucket that speaks S3. The only place that imports aiobotocore, and only when a bucket is opened: a service
without one does not load it.

One client for as long as the bucket is open. What it raises is said in our words in `s3_errors`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from recsys.artifacts.bucket import Patience
from recsys.artifacts.s3_objects import LONGEST_CALL, S3Objects, Translate
from recsys.errors import SettingsError
from recsys.settings import S3Settings


@asynccontextmanager
async def open_bucket(settings: S3Settings, *, patience: Patience | None = None) -> AsyncIterator[S3Objects]:
    """Open the bucket that the settings name. Nothing is asked of it yet.

    Errors: SettingsError without aiobotocore, or with settings that it cannot use.
    """
    create_client, translate = await asyncio.to_thread(_prepare, settings)
    try:
        made = create_client()
        client = await made.__aenter__()
    except ValueError as error:
        raise SettingsError(f"RECSYS_S3__ENDPOINT_URL or RECSYS_S3__REGION: {error}") from error
    try:
        yield S3Objects(client, settings, translate, patience or Patience())
    finally:
        await made.__aexit__(None, None, None)


def _prepare(settings: S3Settings) -> tuple[Callable[[], Any], Translate]:
    """Import and read what a client needs, in a thread: half a second that the event loop does not have."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
    except ImportError as error:
        hint = "pip install 'recsys[s3]', or unset RECSYS_S3__BUCKET"
        raise SettingsError("RECSYS_S3__BUCKET needs aiobotocore, which is not installed", hint=hint) from error
    from recsys.artifacts.s3_errors import translate

    session = get_session()
    loader = session.get_component("data_loader")
    for part in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", part)
    path_style = settings.endpoint_url is not None if settings.path_style is None else settings.path_style
    config = AioConfig(
        connect_timeout=settings.timeout_s,
        # the bound of each call is set where it is made
        read_timeout=settings.timeout_s * LONGEST_CALL,
        max_pool_connections=settings.max_concurrency + 2,
        retries={"total_max_attempts": 1},
        # some compatibles refuse the newer checksums; ours is in the manifest
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # what is sent carries its MD5; to sign its SHA-256 too would hold the event loop
        s3={"addressing_style": "path" if path_style else "auto", "payload_signing_enabled": False},
    )

    def create() -> Any:
        return session.create_client(
            "s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config
        )

    return create, translate
