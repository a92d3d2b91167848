#!/usr/bin/env bash
# faiss-cpu 1.15.1: an IVF index opened memory-mapped starts a thread for every probed list, up to 32, at each search.
#
# Lists that are mapped from a file have `prefetch_nthread` set to 32: before each search, threads of their own touch the
# probed lists, so that a cold disk is read in parallel. They are started and joined for every single query, also where
# the page cache holds the whole file. With 64 probed lists, 100 searches start 3,200 threads; the same index read into
# memory starts none, and the mapped one starts none either once `prefetch_nthread` is 0. In a server that answers one
# question at a time, the threads cost more than the search (1.0 ms without them and 3.7 ms with them, for a million
# vectors of 128 bytes on two cores).
#
# Expected of a good engineer: a setting of the search or of opening, named in `IO_FLAG_MMAP`'s documentation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.2.6
cat > "$folder/search.py" <<'PYTHON'
import os
import sys

import faiss
import numpy as np

LISTS, SEARCHES = 64, 100
faiss.omp_set_num_threads(1)
vectors = np.random.default_rng(0).standard_normal((20_000, 32), dtype=np.float32)
index = faiss.IndexIVFFlat(faiss.IndexFlatL2(32), 32, LISTS)
index.train(vectors)
index.add(vectors)
faiss.write_index(index, "vectors.faiss")


def last_process_id() -> int:
    """The kernel numbers threads and processes in one sequence, so a new one tells how many came before."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def threads_started(index: faiss.Index) -> int:
    index.nprobe = LISTS
    before = last_process_id()
    for query in vectors[:SEARCHES]:
        index.search(query[None], 10)
    return last_process_id() - before - 1


read = faiss.read_index("vectors.faiss")
mapped = faiss.read_index("vectors.faiss", faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
lists = faiss.downcast_InvertedLists(mapped.invlists)
print(f"prefetch_nthread is {lists.prefetch_nthread}")
started = {"read into memory": threads_started(read), "mapped": threads_started(mapped)}
lists.prefetch_nthread = 0
started["mapped, prefetch_nthread 0"] = threads_started(mapped)
for name, number in started.items():
    print(f"{name}: {SEARCHES} searches started about {number} threads")
few = SEARCHES * 5  # other processes of the machine start some too
assert started["mapped"] >= 32 * SEARCHES
assert started["read into memory"] < few and started["mapped, prefetch_nthread 0"] < few
PYTHON
(cd "$folder" && "$folder/venv/bin/python" search.py)
echo "as described"
