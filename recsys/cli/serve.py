"""`recsys serve`: logging, uvloop, and the service until a signal."""

import structlog
import uvloop

from recsys.cli.logs import configure_logging
from recsys.errors import SettingsError
from recsys.serving.allocator import return_memory
from recsys.settings import Settings
from recsys.web.server import serve


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Errors: SettingsError when the address is taken."""
    return_memory()
    configure_logging(settings.log.level, settings.log_format)
    if settings.server.debug_port is not None:
        _listen_for_debugger(settings.server.host, settings.server.debug_port)
    uvloop.run(serve(settings))
    return 0


def _listen_for_debugger(host: str, port: int) -> None:
    """Whoever reaches the port can run any code in the process, so it is only opened when asked for."""
    try:
        import debugpy  # noqa: T100
    except ImportError as error:
        hint = "pip install debugpy, or unset RECSYS_SERVER__DEBUG_PORT"
        raise SettingsError("RECSYS_SERVER__DEBUG_PORT needs debugpy, which is not installed", hint=hint) from error
    debugpy.listen((host, port))  # noqa: T100
    structlog.get_logger(__name__).warning("a debugger may attach", host=host, port=port)
