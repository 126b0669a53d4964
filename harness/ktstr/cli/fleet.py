# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr fleet``: the processes of a cluster that gauntlets run on."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from ktstr.cli import fleet_options
from ktstr.cli.command_line import Group
from ktstr.errors import ExitCode, KtstrError

PORT = 8786
MAX_SLOTS = 1024


@click.group(cls=Group)
def fleet() -> None:
    """Machines that run gauntlets together: their scheduler and their workers."""


@fleet.command()
@click.option(
    "--cluster", required=True, metavar="ADDRESS", help="The scheduler: tcp://HOST:PORT, tls://…"
)
@click.option(
    "--slots",
    type=click.IntRange(1, MAX_SLOTS),
    metavar="N",
    help="vCPUs of guests at a time; default: the CPUs of this host.",
)
@click.option("--name", metavar="NAME", help="What it is called; default: host and process.")
@click.option("--host", metavar="IP", help="Listen here; default: what leads to the scheduler.")
@click.option("--insecure", is_flag=True, help="Let others than this machine use it without TLS.")
@fleet_options.tls
def worker(
    cluster: str,
    slots: int | None,
    name: str | None,
    host: str | None,
    insecure: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run guests for a cluster, until a signal or until its scheduler ends.

    It looks first whether this host can run guests. One that cannot joins all the same and says
    why; it gets no runs.
    """

    async def work() -> None:
        from ktstr.fleet.join import Offer, serve
        from ktstr.fleet.security import Tls, address, check_exposure

        tls = Tls.of(tls_ca, tls_cert, tls_key)
        if host is not None:
            check_exposure(host, tls, insecure)
        await serve(address(cluster, tls), Offer(slots, name, host), tls, _say)

    sys.exit(_until_signal(work))


@fleet.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="IP", help="Listen here.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Listen here; 0: any that is free.",
)
@click.option("--insecure", is_flag=True, help="Let others than this machine use it without TLS.")
@fleet_options.tls
def scheduler(
    host: str,
    port: int,
    insecure: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Hand runs to workers; any other scheduler of Dask's does as well.

    Whoever can reach it can have anything executed on all its workers.
    """

    async def work() -> None:
        import anyio

        from ktstr.fleet.scheduler import scheduling
        from ktstr.fleet.security import Tls

        tls = Tls.of(tls_ca, tls_cert, tls_key)
        async with scheduling(host, port, tls, insecure=insecure) as found:
            _say(f"scheduler at {found.address}")
            _say(f"workers: ktstr fleet worker --cluster {found.address}")
            await anyio.sleep_forever()

    sys.exit(_until_signal(work))


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def _until_signal(work: Callable[[], Awaitable[None]]) -> int:
    """Do it until a signal comes, which is how it is meant to end; the exit status."""
    import anyio

    from ktstr.cli.guarded import SIGNALS
    from ktstr.session.scopes import task_scope

    async def watched() -> None:
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with anyio.open_signal_receiver(*SIGNALS) as received:
            async with task_scope() as tasks:

                async def answer() -> None:
                    async for _ in received:
                        tasks.cancel_scope.cancel()

                tasks.start_soon(answer)
                await work()

    try:
        fleet_options.need_dask()
        anyio.run(watched)
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        return int(error.exit_code)
    return int(ExitCode.PASS)
