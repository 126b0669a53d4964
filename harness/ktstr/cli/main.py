# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr``: everything beside running a scenario."""

import importlib

import click

from ktstr.cli.command_line import Group

COMMANDS = {
    "kernel": ("ktstr.cli.kernel", "kernel", "List, fetch and remove kernels."),
    "run": ("ktstr.cli.run", "main", "Run a scenario (the same as ktstr-run)."),
    "compare": ("ktstr.cli.compare", "compare", "Tell what got worse between two sets of runs."),
    "debug": ("ktstr.cli.debug", "debug", "Open a drgn prompt on a VM that was kept."),
    "at": ("ktstr.cli.at", "at", "Stop a repeat of a virtual-clock run at an instant."),
    "doctor": ("ktstr.cli.doctor", "doctor", "Say what this host can do, and how to mend gaps."),
    "dump": ("ktstr.cli.dump", "dump", "Print a failure dump, or one part of it."),
    "fleet": ("ktstr.cli.fleet", "fleet", "Machines that run gauntlets together, by Dask."),
    "gauntlet": (
        "ktstr.cli.gauntlet",
        "gauntlet",
        "Run scenarios on every topology, kernel and scheduler that makes sense.",
    ),
    "history": ("ktstr.cli.history", "history", "List the runs that are recorded."),
    "image": ("ktstr.cli.image", "image", "Build the guest image ahead of time."),
    "completions": (
        "ktstr.cli.completions",
        "completions",
        "Print what makes a shell complete commands and names.",
    ),
    "console": ("ktstr.cli.attach", "console", "Connect the terminal to a kept VM's console."),
    "resume": ("ktstr.cli.resume", "resume", "Let a kept VM run on, or bring a checkpoint back."),
    "locks": ("ktstr.cli.locks", "locks", "Show which run has which CPUs of this host."),
    "metrics": ("ktstr.cli.metrics", "metrics", "List the metrics: kinds, gates, units."),
    "qemu": ("ktstr.cli.qemu", "qemu", "Show QEMU; fetch one for the virtual clock."),
    "runs": ("ktstr.cli.runs", "runs", "List the daemon's runs; cancel or follow one."),
    "selftests": (
        "ktstr.cli.selftests",
        "selftests",
        "Run the sched_ext self-tests of a kernel's source on it.",
    ),
    "perf-delta": (
        "ktstr.cli.perf_delta",
        "perf_delta",
        "Run scenarios on two commits in turn; tell changes from noise.",
    ),
    "serve": ("ktstr.cli.serve", "serve", "Run the daemon: a queue of runs, HTTP, a page."),
    "show": ("ktstr.cli.show", "show", "Print the end of a run again, out of its record."),
    "shell": ("ktstr.cli.shell", "shell", "Open a shell in a guest, or run a command there."),
    "scenarios": ("ktstr.cli.scenarios", "scenarios", "List the scenarios that run by name."),
    "verify-determinism": (
        "ktstr.cli.determinism",
        "verify_determinism",
        "Run a scenario several times by the virtual clock; compare every byte.",
    ),
    "explore": (
        "ktstr.cli.explore",
        "explore",
        "Run a scenario with many seeds; find one that fails.",
    ),
    "verifier": (
        "ktstr.cli.verifier",
        "verifier",
        "Load a scheduler on kernels; tell what their verifiers made of it.",
    ),
    "schema": ("ktstr.cli.schema", "schema", "Print the JSON Schema of the scenario file."),
}


class LazyGroup(Group):
    """Imports a command's module only when it is used, so that help stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table above and without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup)
@click.version_option(package_name="ktstr")
def main() -> None:
    """Tests for Linux process schedulers, in real virtual machines."""


if __name__ == "__main__":
    main()
