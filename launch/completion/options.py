"""The options of `completion`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CompletionOptions:
    """Prints a script that completes verbs, presets, benchmarks, plans, options and their choices.

    bash: eval "$(earshot completion bash)" in ~/.bashrc.
    zsh: eval "$(earshot completion zsh)" in ~/.zshrc, after compinit.
    fish: earshot completion fish > ~/.config/fish/completions/earshot.fish
    """

    shell: Literal["bash", "zsh", "fish"]
    """The shell that reads the script."""
