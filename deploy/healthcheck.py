"""The container's health check: exits 0 if recommendations can be had. Run as `python -IS`, it costs some 20 ms.

A socket only: an HTTP library would take longer to import than the whole question takes.
"""

import os
import socket
import sys

_TIMEOUT_S = 4.0
_REQUEST = b"GET /health/ready HTTP/1.0\r\n\r\n"

port = int(os.environ.get("RECSYS_SERVER__PORT") or 8000)
try:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(_REQUEST)
        answer = connection.recv(64)
except OSError as error:
    sys.exit(f"no answer on port {port}: {error}")
if b" 200 " not in answer.partition(b"\r\n")[0]:
    sys.exit(answer.partition(b"\r\n")[0].decode("latin-1") or f"no answer on port {port}")
