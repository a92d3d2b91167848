"""The scripts by which bash, zsh and fish complete a command; they hold all words, so that no Tab starts Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from launch.completion.nodes import Node, nodes_of
from launch.completion.options import CompletionOptions

BASH = """\
# Completion of {command} for bash: eval "$({command} completion bash)"
_{command}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" verbs="" word words="" options=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$verbs/$word" in
      {steps}) verbs="$verbs/$word" ;;
    esac
  done
  case "$verbs $previous" in
{choices}
  esac
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "$verbs" in
{nodes}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}}
complete -o default -F _{command} {command}
"""

ZSH = """\
#compdef {command}
# Completion of {command} for zsh: eval "$({command} completion zsh)", after compinit
_{command}() {{
  local current="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}" verbs="" word
  local -a names options
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$verbs/$word" in
      {steps}) verbs="$verbs/$word" ;;
    esac
  done
  case "$verbs $previous" in
{choices}
  esac
  if (( $#names )); then
    compadd -- $names
    return
  fi
  case "$verbs" in
{nodes}
  esac
  if [[ "$current" == -* ]]; then
    compadd -- $options
  else
    compadd -- $names
    _files
  fi
}}
compdef _{command} {command}
"""

FISH = """\
# Completion of {command} for fish: {command} completion fish > ~/.config/fish/completions/{command}.fish
function __{command}_verbs
  set -l verbs ""
  for word in (commandline -opc)[2..-1]
    switch "$verbs/$word"
      case {steps}
        set verbs "$verbs/$word"
    end
  end
  echo "$verbs"
end
function __{command}_at
  test (__{command}_verbs) = "$argv[1]"
end
{nodes}
"""


def script_of(shell: str, nodes: Iterable[Node], command: str) -> str:
    """The completion script of a command.

    Args:
        shell: bash, zsh or fish.
        nodes: what can follow its verbs.
        command: the command's name.
    """
    return SHELLS[shell](list(nodes), command)


def print_script(options: CompletionOptions) -> None:
    """Prints the script for a shell."""
    from launch.console import CONSOLE, NAME

    print(script_of(options.shell, nodes_of(CONSOLE, shells=tuple(SHELLS)), NAME), end="")


def _bash(nodes: list[Node], command: str) -> str:
    return _of_cases(BASH, nodes, command, lambda name, words: f'{name}="{" ".join(words)}"', names="words")


def _zsh(nodes: list[Node], command: str) -> str:
    return _of_cases(ZSH, nodes, command, lambda name, words: f"{name}=({' '.join(words)})", names="names")


def _of_cases(
    template: str, nodes: list[Node], command: str, assign: Callable[[str, Iterable[str]], str], *, names: str
) -> str:
    """A script of shells with `case`."""
    choices = [
        f'    "{_place(node)} {option}") {assign(names, words)} ;;'
        for node in nodes
        for option, words in node.choices.items()
    ]
    cases = [
        f'    "{_place(node)}") {assign(names, node.words)}; {assign("options", node.options)} ;;' for node in nodes
    ]
    return template.format(
        command=command, steps=_steps(nodes, "|"), choices="\n".join(choices), nodes="\n".join(cases)
    )


def _fish(nodes: list[Node], command: str) -> str:
    lines = []
    for node in nodes:
        here = f"complete -c {command} -n '__{command}_at \"{_place(node)}\"'"
        if node.words:
            lines.append(f"{here} -a '{' '.join(node.words)}'")
        for option in node.options:
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            words = node.choices.get(option)
            lines.append(f"{here} {kind}" + (f" -x -a '{' '.join(words)}'" if words else ""))
    return FISH.format(command=command, steps=_steps(nodes, " "), nodes="\n".join(lines))


def _place(node: Node) -> str:
    return "".join(f"/{verb}" for verb in node.path)


def _steps(nodes: list[Node], between: str) -> str:
    """Every verb after the verbs before it."""
    return between.join(f'"{_place(node)}/{verb}"' for node in nodes for verb in node.verbs)


SHELLS: Mapping[str, Callable[[list[Node], str], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""How each shell's script is written."""
