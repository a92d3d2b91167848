#!/usr/bin/env bash
# PyAV 18.1.0 (its wheel's FFmpeg): a chained Ogg of 8 s and 5 s states a duration of 5 s, and decodes to 13 s.
#
# Streams written one after the other are a valid Ogg (RFC 3533, section 4). Container and track both give the duration
# of the last link alone, so that it is wrong in the direction that loses sound: a program that takes the stated duration
# for the end, or seeks by it, never sees the first 8 s or the last 8 s. The packets' times begin again at 0 in the
# second link. Decoding forward gives all of it, without an error or a warning.
#
# Expected of a good engineer: the sum, or the first link, as other decoders have it; or no duration.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 soundfile==0.14.0 numpy==2.2.6
cat > "$folder/look.py" <<'PYTHON'
import io

import av
import numpy as np
import soundfile

RATE_HZ = 16_000
links = []
for seconds, hertz in ((8, 440), (5, 3000)):
    memory = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(seconds * RATE_HZ) / RATE_HZ)
    soundfile.write(memory, tone, RATE_HZ, format="OGG", subtype="VORBIS")
    links.append(memory.getvalue())
with av.open(io.BytesIO(b"".join(links))) as container:
    track = container.streams.audio[0]
    stated = float(track.duration * track.time_base)
    of_container = container.duration / av.time_base
    decoded = sum(frame.samples for frame in container.decode(track)) / RATE_HZ
print(f"track {stated:.1f} s, container {of_container:.1f} s, decoded {decoded:.1f} s")
PYTHON
found=$("$folder/venv/bin/python" "$folder/look.py")
echo "$found"
[ "$found" = "track 5.0 s, container 5.0 s, decoded 13.0 s" ]
echo "as described"
