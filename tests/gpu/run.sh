#!/usr/bin/env bash
# Checks and times Earshot on this machine's GPU: tests/gpu/run.sh [--json FILE] [--minutes 8] [--only NAME …]
#
# It needs Python with torch, and no network. WHEELS=DIR names a folder of wheels (see wheels.txt): those of packages
# that are not installed are put into a temporary folder for this run. PYTHON chooses the interpreter.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$repository:$repository/tests${PYTHONPATH:+:$PYTHONPATH}"
export NO_ALBUMENTATIONS_UPDATE=1 HF_HUB_OFFLINE=1
if [ -n "${WHEELS:-}" ]; then
  carried=$(mktemp -d)
  trap 'rm -rf "$carried"' EXIT
  "$python" "$repository/tests/gpu/carried_wheels.py" "$WHEELS" "$carried"
  export PYTHONPATH="$PYTHONPATH:$carried"
fi
"$python" "$repository/tests/gpu/run.py" "$@"
