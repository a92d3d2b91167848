"""Prints the seconds, those of all cores, and the additional memory of D@k: distances_at_k.py PROTOCOL PAIRS."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from benchmarks.measuring import fastest, peak_mib_of
from benchmarks.ranking_speed import embeddings

from pretrain.training.embedding import PairEmbeddings
from retrieval.distances_at_k import distances_at_k
from retrieval.protocols import PROTOCOLS

protocol, pairs = PROTOCOLS[sys.argv[1]](), int(sys.argv[2])
image, sound = embeddings(pairs)
places = np.random.default_rng(1).uniform((-180, -80), (180, 80), (pairs, 2))
metadata = [{"longitude": float(longitude), "latitude": float(latitude)} for longitude, latitude in places]
ranking = protocol.rank(protocol.select(PairEmbeddings([str(key) for key in range(pairs)], image, sound)))
metadata = metadata[: len(ranking.embeddings.keys)]
started = time.process_time()
seconds, more_mib = peak_mib_of(lambda: fastest(lambda: distances_at_k(protocol, ranking, metadata), 1))
cores = time.process_time() - started
print(json.dumps({"seconds": seconds, "of_all_cores_s": cores, "more_mib": more_mib}))
