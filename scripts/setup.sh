# Sourced by the other scripts: makes .venv, or finishes one that was interrupted. Not a command.
#
#   set_up LOCK [LOCK ...]   installs what the lock files name, each checked by its hash, unless it is there already
#
# What is installed besides (extras, pip itself) is kept. A mark for each lock file holds its checksum, written after
# everything else, so that an interrupted set-up is finished by the next call.

python_for_venv() {
  local candidate
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    [[ -n $candidate ]] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "recsys needs Python 3.11 or newer with venv (on Debian: apt-get install python3 python3-venv);" \
    "PYTHON=/path/to/python names one" >&2
  return 1
}

set_up() {
  local venv=$PWD/.venv lock mark sum python
  if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(python_for_venv) || return 1
    echo "setting up .venv" >&2
    "$python" -m venv --clear "$venv"
  fi
  for lock in "$@"; do
    mark=$venv/.installed-$(basename "$lock")
    sum=$(sha256sum <"$lock")
    if [[ ! -e $mark || $(<"$mark") != "$sum" ]]; then
      echo "installing $lock" >&2
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" >&2
      echo "$sum" >"$mark"
    fi
  done
  mark=$venv/.installed-recsys
  sum=$(sha256sum setup.cfg pyproject.toml)
  if [[ ! -e $mark || $(<"$mark") != "$sum" ]] || [[ ! -x $venv/bin/recsys ]]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation \
      --no-index --editable . >&2
    echo "$sum" >"$mark"
  fi
}
