#!/usr/bin/env bash
# torch 2.11.0: a DataLoader's worker that is still starting when its trainer is killed stays for good.
#
# A worker asks every 5 seconds whether its parent has changed, and ends if so. The parent that it compares with is the
# one at the moment when its loop begins. A spawned worker first imports what the dataset needs, which takes seconds; if
# the trainer is killed meanwhile, the worker takes the process that adopted it for its trainer, and waits for it without
# end. A worker whose loop had begun ends within seconds.
#
# Expected of a good engineer: both end. `multiprocessing.parent_process().sentinel` tells the parent's end at any time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.2.6
cat > "$folder/numbers_of.py" <<'PYTHON'
import multiprocessing
import time

from torch.utils.data import Dataset

if multiprocessing.parent_process() is not None:
    time.sleep(3)  # as long as larger packages take to import


class Numbers(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, item):
        return item
PYTHON
cat > "$folder/train.py" <<'PYTHON'
import os
import signal
import sys
import time

from numbers_of import Numbers
from torch.utils.data import DataLoader

if __name__ == "__main__":
    batches = iter(DataLoader(Numbers(), num_workers=1, multiprocessing_context="spawn"))
    if sys.argv[1] == "begun":
        next(batches)
    with open("worker", "w") as file:
        file.write(str(batches._workers[0].pid))
    os.kill(os.getpid(), signal.SIGKILL)
PYTHON
is_there_after_a_minute() {
  (cd "$folder" && "$folder/venv/bin/python" train.py "$1" 2>/dev/null) || true
  worker=$(cat "$folder/worker")
  for _ in $(seq 60); do
    if ! kill -0 "$worker" 2>/dev/null; then echo no; return; fi
    sleep 1
  done
  kill -9 "$worker"
  echo yes
}
begun=$(is_there_after_a_minute begun)
starting=$(is_there_after_a_minute starting)
echo "a minute after its trainer was killed, a worker that had begun is there: $begun"
echo "one that was starting is there: $starting"
[ "$begun" = no ]
[ "$starting" = yes ]
echo "as described"
