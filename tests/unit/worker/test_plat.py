# SPDX-License-Identifier: GPL-2.0-only
"""The worker's latency histogram is the host's, bucket by bucket."""

import ctypes
import struct
import subprocess
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.telemetry.decode import Fields
from ktstr.telemetry.plat import Pct, PlatStats

HERE = Path(__file__).resolve().parent
WORKER = HERE.parents[2] / "guest" / "worker"
U32_MAX = (1 << 32) - 1
EDGES = sorted({max(0, (1 << bit) + d) for bit in range(33) for d in (-1, 0, 1)})


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The histogram code as a shared library."""
    out = tmp_path_factory.mktemp("plat") / "plat.so"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         f"-I{WORKER}", f"-I{WORKER.parent / 'common'}", "-o", out, HERE / "plat_shim.c",
         WORKER / "plat.c"],
        check=True,
    )  # fmt: skip
    lib = ctypes.CDLL(str(out))
    lib.plat_wire.restype = lib.plat_full.restype = ctypes.c_size_t
    return lib


def decoded(buffer, length):
    assert length
    return msgpack.unpackb(buffer.raw[:length])["h"]


def wire(shim, values, more=()):
    """What the worker sends for ``values``, after a histogram of ``more`` was moved into it."""
    buffer = ctypes.create_string_buffer(1 << 17)
    arrays = [(ctypes.c_uint64 * len(v))(*v) for v in (values, more)]
    length = shim.plat_wire(
        arrays[0], ctypes.c_size_t(len(values)), arrays[1], ctypes.c_size_t(len(more)),
        buffer, ctypes.c_size_t(len(buffer)),
    )  # fmt: skip
    return decoded(buffer, length)


def bucket(value):
    """By counting: how often the value must be halved until it is below 512."""
    value, halved = min(value, U32_MAX), 0
    while value >> halved >= 512:
        halved += 1
    return min(value if not halved else 256 * halved + (value >> halved), 4863)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (255, 255), (511, 511), (512, 512), (513, 512), (514, 513), (1023, 767), (1024, 768),
     (1028, 769), (65536, 2304), (1 << 25, 4608), ((1 << 26) - 1, 4863), (1 << 26, 4863),
     (U32_MAX, 4863), (1 << 40, 4863)],
)  # fmt: skip
def test_a_value_has_the_bucket_of_the_format(shim, value, expected):
    sent = wire(shim, [value])
    assert struct.unpack("<2I", sent["plat"]) == (expected, 1)
    assert bucket(value) == expected


def test_every_edge_is_in_the_bucket_that_counting_gives(shim):
    for value in EDGES:
        ((found, count),) = struct.iter_unpack("<2I", wire(shim, [value])["plat"])
        assert (found, count) == (bucket(value), 1), value


VALUES = st.lists(st.one_of(st.integers(0, 2000), st.integers(0, 1 << 34)), max_size=60)


@given(VALUES, VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_host_reads_what_the_worker_counted(shim, values, more):
    sent = wire(shim, values, more)
    everything = [min(v, U32_MAX) for v in [*values, *more]]
    counted = {}
    for value in everything:
        counted[bucket(value)] = counted.get(bucket(value), 0) + 1
    assert sent == {
        "plat": b"".join(struct.pack("<2I", *pair) for pair in sorted(counted.items())),
        "nr_samples": len(everything),
        "max": max(everything, default=0),
        "min": min((v for v in everything if v), default=0),
    }
    host = PlatStats.read(Fields(sent, "worker"))
    assert host == PlatStats.from_values(np.array([*values, *more], dtype=np.uint64))


def test_a_percentile_of_small_values_is_the_value_itself(shim):
    host = PlatStats.read(Fields(wire(shim, list(range(1, 101))), "worker"))
    assert [host.percentile(p) for p in Pct] == [20, 50, 90, 99, 100]


def test_a_full_bucket_stays_full(shim):
    buffer = ctypes.create_string_buffer(1 << 10)
    for count, expected in ((U32_MAX - 1, U32_MAX), (U32_MAX, U32_MAX)):
        length = shim.plat_full(7, ctypes.c_uint32(count), buffer, ctypes.c_size_t(1 << 10))
        sent = decoded(buffer, length)
        assert struct.unpack("<2I", sent["plat"]) == (7, expected)
        assert sent["nr_samples"] == count + 1
        PlatStats.read(Fields(sent, "worker"))


def test_what_does_not_fit_is_noticed(shim):
    buffer = ctypes.create_string_buffer(64)
    assert shim.plat_full(7, ctypes.c_uint32(1), buffer, ctypes.c_size_t(64)) == 0
