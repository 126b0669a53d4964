# SPDX-License-Identifier: GPL-2.0-only
"""Topologies with a name: the rows of ``configs/topologies.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from ktstr.model.configs import configs_folder
from ktstr.model.topology import Topology
from ktstr.model.units import parse_size
from ktstr.model.words import did_you_mean

OWN: Final = "own"
"""The word for what a scenario's file says itself: its topology, kernel or scheduler."""

ALL: Final = "all"
"""The word for every preset."""

TOPOLOGY_ALLOWED: Final = 'a topology such as "1n2l2c1t", or the name of a preset'


@dataclass(frozen=True, slots=True)
class Preset:
    """A topology with a name.

    :param memory: bytes that a test of its own should give such a guest; ``vm.memory`` decides.
    """

    name: str
    topology: Topology
    memory: int


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name, in the order of the file.

    :raises HostUnfit: when the file is not there.
    """
    with open(configs_folder() / "topologies.toml", "rb") as stream:
        rows = tomllib.load(stream)
    return MappingProxyType(
        {
            name: Preset(name, Topology.parse(row["topology"]), parse_size(row["memory"]))
            for name, row in rows.items()
        }
    )


def topology_named(text: str) -> Topology:
    """The topology of a preset, or the one that ``NnNlNcNt`` describes.

    :raises ValueError: when the text is neither; the message says what is allowed.
    """
    known = presets()
    if text in known:
        return known[text].topology
    # NnNlNcNt begins with a digit, and so does whatever is meant to be it; names do not.
    if text[:1].isalpha():
        raise ValueError(f"{TOPOLOGY_ALLOWED}: {', '.join(known)}{did_you_mean(text, known)}")
    return Topology.parse(text)
