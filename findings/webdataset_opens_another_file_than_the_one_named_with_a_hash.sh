#!/usr/bin/env bash
# webdataset 1.0.2: WebDataset("take #1.tar") opens the file "take ", because local names are parsed as URLs.
#
# `StreamingOpen` parses every name with `urlparse` and opens the path of the result: what follows a `#` or a `?` is cut
# off. With `take #1.tar`, `take #2.tar`, … it reports that "take " is missing; where a file of that name exists, it
# reads that one, once for each name. No way of writing the name helps: with `file:` it is parsed the same, and
# `%23` is not decoded. What helps is to open the tars oneself, and to give webdataset's later stages the open files.
#
# Expected of a good engineer: names without a scheme are names of files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.2.6
cat > "$folder/read.py" <<'PYTHON'
import shutil

import webdataset

for name in ("a", "b"):
    with webdataset.TarWriter(f"{name}.tar") as tar:
        tar.write({"__key__": name, "txt": "text"})
shutil.move("a.tar", "take #1.tar")
for name in ("take #1.tar", "file:take #1.tar", "file:take %231.tar"):
    try:
        list(webdataset.WebDataset(name, shardshuffle=False))
        raise SystemExit(f"{name} can be read now")
    except FileNotFoundError as error:
        print(f"{name}: looked for {error.filename!r}")
shutil.move("b.tar", "take ")
keys = [sample["__key__"] for sample in webdataset.WebDataset("take #1.tar", shardshuffle=False)]
print(f"with a file called 'take ' beside it, 'take #1.tar' gives the sample {keys}")
assert keys == ["b"]
PYTHON
(cd "$folder" && "$folder/venv/bin/python" read.py)
echo "as described"
