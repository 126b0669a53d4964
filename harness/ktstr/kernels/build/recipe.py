# SPDX-License-Identifier: GPL-2.0-only
"""What a built kernel follows from, and the key that stands for it.

The merged configuration is a function of the source, the fragments and the toolchain, so these
three are the key, and a kernel that was built is found without running anything of its source.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.kernels.build.fragments import Fragment, merged
from ktstr.kernels.build.origins import Origin
from ktstr.kernels.build.toolchain import Toolchain

_REVISION = 1
"""Raised when the same three would give another kernel: other targets, variables, stripping."""

DEBUG = "debug"
"""The fragment that keeps debug information in the kernel."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One kernel to be built."""

    origin: Origin
    fragments: tuple[Fragment, ...]
    toolchain: Toolchain

    @property
    def names(self) -> str:
        """The fragments' names, in order."""
        return ",".join(fragment.name for fragment in self.fragments)

    @property
    def keeps_dwarf(self) -> bool:
        """Whether the kernel keeps its debug information."""
        return any(fragment.name == DEBUG for fragment in self.fragments)

    @property
    def key(self) -> str:
        """Identity of the kernel, hexadecimal; comments and order of options do not count."""
        return _key(self.origin.digest, self.fragments, self.toolchain)

    @property
    def folder(self) -> str:
        """Name of the folder it is built in.

        Of a folder of the user's, every state is built in the same one, so that a change of a few
        files compiles these files.
        """
        if self.origin.path is None:
            return self.key
        return _key(str(self.origin.path), self.fragments, self.toolchain)


def _key(source: str, fragments: Sequence[Fragment], toolchain: Toolchain) -> str:
    options = sorted(merged(fragments).items())
    dwarf = any(fragment.name == DEBUG for fragment in fragments)
    parts = [_REVISION, source, options, dwarf, sorted(toolchain.versions.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
