"""Small random networks of `transformers`, saved as that library saves them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ClapConfig, ClapModel

AST_MEAN, AST_STD = -3.0, 2.0


def save_ast(folder: Path, *, frames: int = 256) -> ASTForAudioClassification:
    """A spectrogram transformer with a classifier, and its feature extractor."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = ASTForAudioClassification(ASTConfig(**sizes, max_length=frames)).eval()
    model.save_pretrained(folder)
    ASTFeatureExtractor(mean=AST_MEAN, std=AST_STD).save_pretrained(folder)
    return model


def save_clap(folder: Path, *, fuses: bool = False) -> ClapModel:
    """A CLAP with both of its towers."""
    torch.manual_seed(4)
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1], "enable_fusion": fuses}
    heads = {"num_attention_heads": [1, 2, 2, 4], "num_mel_bins": 64, "spec_size": 256}
    config = ClapConfig(text_config={**text, "vocab_size": 50}, audio_config={**audio, **heads}, projection_dim=16)
    model = ClapModel(config).eval()
    model.save_pretrained(folder)
    return model
