"""Thousands of requests made from /openapi.json: no 5xx, and no answer outside what the document says."""

import subprocess
import sys
from pathlib import Path

import pytest
from feedback_calls import TOKEN
from service import ServerProcess

pytest_plugins = ["http_server"]
#: `positive_data_acceptance` is left out: a document cannot say that `year_from` must not be after `year_to`, that a
#: rating must be on the scale of the data, or that 5.0 is not taken for the whole number 5.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance"),
)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(900)
def test_no_answer_is_outside_the_document(club: ServerProcess, full: bool, tmp_path: Path) -> None:
    """On a server of its own: films are renamed and withdrawn here, and users forgotten. 413 counts as a refusal of
    what is too large, whatever else is wrong with it, and so do the token's.

    The stream of events never ends by itself, and a training run at every call tests nothing more: both are left out.
    """
    (tmp_path / "schemathesis.toml").write_text(
        "[checks.negative_data_rejection]\nexpected-statuses = "
        '["400", "401", "403", "404", "405", "413", "415", "429"]\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml"),
            *("run", f"{club.address}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--exclude-path", "/admin/events", "--exclude-path", "/admin/retrain"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--seed", "20260101"),
            *("--max-examples", "300" if full else "30", "--request-timeout", "20", "--continue-on-failure"),
        ],
        cwd=tmp_path, text=True, capture_output=True, timeout=800, check=False,
    )  # fmt: skip

    shown = "\n".join(line[:500] for line in done.stdout.splitlines()[-200:])
    assert done.returncode == 0, shown + done.stderr[-2000:]
    assert club.request("/health/ready").status == 200
