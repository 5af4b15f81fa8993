"""Asks the service of this container to retrain and follows the run. `./scripts/train` feeds it to the container's
Python; its exit status is the outcome's.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from recsys.errors import RecsysError
from recsys.settings import load_settings
from recsys.web.auth import read_token

_LOOK_EVERY_S = 0.5
_GIVE_UP_AFTER_S = 60.0


class Service:
    """The service, as its admin API shows it."""

    def __init__(self) -> None:
        settings = load_settings(os.environ)
        self._address = f"http://127.0.0.1:{settings.server.port}"
        self._headers = {"Authorization": f"Bearer {read_token(settings)}"}

    def ask(self, path: str, method: str = "GET") -> dict[str, Any]:
        request = urllib.request.Request(self._address + path, method=method, headers=self._headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def main() -> int:
    try:
        service = Service()
        job_id = service.ask("/admin/retrain", "POST")["job_id"]
    except (OSError, RecsysError) as error:
        print(f"the service did not take the request: {error}", file=sys.stderr)
        return 1
    print(f"job {job_id}")
    said, answered = "", time.monotonic()
    while True:
        try:
            job = service.ask(f"/admin/jobs/{job_id}")
            answered = time.monotonic()
        except OSError as error:  # it may be restarting; the ledger remembers the run
            if time.monotonic() - answered > _GIVE_UP_AFTER_S:
                print(f"the service does not answer any more: {error}", file=sys.stderr)
                return 1
            time.sleep(_LOOK_EVERY_S)
            continue
        where = f"{job['stage']} {100 * job['progress']:.0f} %"
        if where != said and job["ended_at"] is None:
            print(where, flush=True)
            said = where
        if job["ended_at"] is not None:
            break
        time.sleep(_LOOK_EVERY_S)
    print(job["status"], job["model_version"] or "", f"({job['reason']})" if job["reason"] else "")
    for check in job["checks"]:
        print(f"  {'passed' if check['passed'] else 'FAILED'}  {check['name']}: {check['value']}")
    return 0 if job["status"] == "accepted" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("not followed any more; the run goes on")
