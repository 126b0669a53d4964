# SPDX-License-Identifier: GPL-2.0-only
"""structlog set up for the command line: key=value lines on stderr, warnings and up."""

import logging
import sys

import structlog


def configure_logging(*, verbose: bool) -> None:
    """Send log events to stderr, from debug on when ``verbose``."""
    level = logging.DEBUG if verbose else logging.WARNING
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # qemu.qmp logs every protocol step through the standard library.
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
