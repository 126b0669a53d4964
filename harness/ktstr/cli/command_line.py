# SPDX-License-Identifier: GPL-2.0-only
"""Commands whose mistakes on the command line are no verdicts."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ktstr.errors import ExitCode


class BadCommandLine(click.UsageError):
    """A mistake on the command line; click's own exit status, 2, means inconclusive here."""

    exit_code = int(ExitCode.CANNOT_RUN)


class Command(click.Command):
    """A command whose mistakes on the command line do not exit as a verdict."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        :raise BadCommandLine: when it cannot be read.
        """
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise BadCommandLine(error.format_message(), error.ctx or ctx) from None


class Group(click.Group):
    """Commands under one name; one that it has not, or a wrong option, exits as no verdict."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line up to the command's name; mistakes exit as "cannot run"."""
        if not args:
            return super().parse_args(ctx, args)  # what there is was asked for
        with _no_verdict():
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named; one that is not there exits as "cannot run"."""
        with _no_verdict():
            return super().resolve_command(ctx, args)


@contextmanager
def _no_verdict() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise BadCommandLine(error.format_message(), error.ctx) from None
