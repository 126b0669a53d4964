# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet was to do and has done: JSON lines that survive a SIGKILL."""


class Journal:
    """The journal of one gauntlet's folder."""
