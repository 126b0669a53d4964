# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr completions``: what makes a shell complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from ktstr.cli.command_line import Command

PROGRAMS = ("ktstr", "ktstr-run")
SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completions(shell: str) -> None:
    """Print what makes SHELL complete ktstr and ktstr-run.

    \b
    bash: ktstr completions bash > ~/.local/share/bash-completion/completions/ktstr
          ln -s ktstr ~/.local/share/bash-completion/completions/ktstr-run
    zsh:  ktstr completions zsh > ~/.zfunc/_ktstr   (with ~/.zfunc in fpath)
    fish: ktstr completions fish > ~/.config/fish/completions/ktstr.fish
          ln -s ktstr.fish ~/.config/fish/completions/ktstr-run.fish
    """
    click.echo(script(shell))


def script(shell: str) -> str:
    """The script for all programs.

    :raise ValueError: when the shell is not one of :data:`SHELLS`.
    """
    made = get_completion_class(shell)
    if shell not in SHELLS or made is None:
        raise ValueError(f"{shell!r} is none of {', '.join(SHELLS)}")
    parts = [
        made(click.Group(), {}, program, _variable(program)).source().strip()
        for program in PROGRAMS
    ]
    if shell == "zsh":
        # One file completes both; only its first line is the tag that compinit looks for.
        head = f"#compdef {' '.join(PROGRAMS)}"
        parts = [
            _for_one(part.removeprefix(f"#compdef {name}"), name)
            for part, name in zip(parts, PROGRAMS, strict=True)
        ]
        return "\n".join([head, *parts])
    return "\n\n".join(parts)


def _for_one(part: str, program: str) -> str:
    """The part of zsh's file that completes ``program``, quiet when the other one is completed.

    The whole file is run when either is completed for the first time.
    """
    whenever = "if [[ $zsh_eval_context[-1] == loadautofunc ]]"
    before, found, after = part.partition(whenever)
    if not found:
        return part  # older versions of click only register
    return f"{before}{whenever[:-3]} && $service == {program} ]]{after}"


def _variable(program: str) -> str:
    """The environment variable by which click is asked for completions."""
    return f"_{program.replace('-', '_').upper()}_COMPLETE"
