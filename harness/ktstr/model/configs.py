# SPDX-License-Identifier: GPL-2.0-only
"""Where the definitions that ktstr brings along lie: ``configs/`` of the repository or wheel."""

from pathlib import Path

import ktstr
from ktstr.errors import HostUnfit


def configs_folder() -> Path:
    """The folder with the topology presets and the scenario catalogue.

    :raises HostUnfit: when neither the repository's nor the installed package's is there.
    """
    package = Path(ktstr.__file__).parent
    for candidate in (package.parents[1] / "configs", package / "_configs"):
        if (candidate / "topologies.toml").is_file():
            return candidate
    raise HostUnfit(
        "the definitions that come with ktstr are neither beside the package nor inside it",
        hint="install ktstr from its repository or from a complete wheel",
    )
