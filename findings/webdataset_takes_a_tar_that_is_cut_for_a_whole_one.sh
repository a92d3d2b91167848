#!/usr/bin/env bash
# webdataset 1.0.2: a tar that was cut between two samples is read without a word, as if it had fewer samples.
#
# A tar ends with blocks of zeros. webdataset reads tars as streams (tarfile's mode "r|*"), where the end of the file
# between two members counts as the end of the tar, without an error or a warning. So a copy or a download that broke off
# there is a shorter epoch, which nobody notices. A cut within a member is an error. What helps is to
# compare sizes or checksums, or to look for the zeros at the end.
#
# Expected of a good engineer: an error, or at least a warning, where the end of the tar is missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.2.6
cat > "$folder/read.py" <<'PYTHON'
import tarfile
import warnings

import webdataset

SAMPLES = 10
with webdataset.TarWriter("whole.tar") as tar:
    for number in range(SAMPLES):
        tar.write({"__key__": f"{number:03d}", "txt": "text " * 1000})
data = open("whole.tar", "rb").read()
with tarfile.open("whole.tar") as tar:
    starts = [member.offset for member in tar]


def count(name: str, length: int) -> int:
    with open(name, "wb") as file:
        file.write(data[:length])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset closes no file
        return sum(1 for _ in webdataset.WebDataset(name, shardshuffle=False))


print("whole:", count("a.tar", len(data)), "samples")
between = count("b.tar", starts[3])
print("cut between the third and the fourth:", between, "samples, no error, no warning")
try:
    count("c.tar", starts[3] + 1000)
    raise SystemExit("a cut within a member is no error any more")
except tarfile.ReadError as error:
    print("cut within the fourth:", error.args[0])
assert between == 3
PYTHON
(cd "$folder" && "$folder/venv/bin/python" read.py)
echo "as described"
