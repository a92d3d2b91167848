#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.11.0: `ClapAudioModel.from_pretrained` of a CLAP checkpoint returns random weights.
#
# A CLAP with both towers, saved by `ClapModel.save_pretrained`, holds `audio_model.audio_encoder.…`. The class for its
# audio tower alone, which its own documentation loads from such a checkpoint, looks for `audio_encoder.…`: it finds none,
# initialises every weight at random and returns without an error; only a table in the log lists them as MISSING.
# `ClapModel.from_pretrained(…).audio_model` has the weights.
#
# Expected of a good engineer: the audio tower's weights, or an error, as nothing at all was loaded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 transformers==5.23.0 numpy==2.2.6
cat > "$folder/load.py" <<'PYTHON'
import sys

import torch
from transformers import ClapAudioModel, ClapConfig, ClapModel

text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]}
torch.manual_seed(0)
whole = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).eval()
whole.save_pretrained(sys.argv[1])
saved = whole.audio_model.state_dict()


def share_kept(model):
    weights = {name: value for name, value in model.state_dict().items() if name.endswith("query.weight")}
    return sum(torch.equal(value, saved[name]) for name, value in weights.items()), len(weights)


alone = ClapAudioModel.from_pretrained(sys.argv[1])
print("ClapAudioModel keeps %d of %d query matrices" % share_kept(alone))
print("ClapModel.audio_model keeps %d of %d" % share_kept(ClapModel.from_pretrained(sys.argv[1]).audio_model))
PYTHON
CUDA_VISIBLE_DEVICES="" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/load.py" "$folder/clap" 2>/dev/null | tee "$folder/output"
grep -qx "ClapAudioModel keeps 0 of 4 query matrices" "$folder/output"
grep -qx "ClapModel.audio_model keeps 4 of 4" "$folder/output"
echo "as described"
