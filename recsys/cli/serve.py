"""`recsys serve`: logging, uvloop, and the service until a signal."""

import uvloop

from recsys.cli.logs import configure_logging
from recsys.settings import Settings
from recsys.web.app import serve


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Errors: SettingsError when the address is taken."""
    configure_logging(settings.log.level, settings.log_format)
    uvloop.run(serve(settings))
    return 0
