# SPDX-License-Identifier: GPL-2.0-only
"""Commands whose mistakes on the command line are no verdicts."""

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
