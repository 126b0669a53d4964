# SPDX-License-Identifier: GPL-2.0-only
"""The command line of the worker: the table it prints and the mistakes it names."""

import json
import subprocess

import pytest

EVERY_NAME = "SpinWait YieldHeavy Mixed Bursty PipeIo FutexPingPong IoSyncWrite AluHot TimerLatency"
AFFINITY = "inherit, random, llc, cross, single, smt-pair or a CPU list like 0-1,3"


def test_list_describes_every_type(worker_binary):
    text = subprocess.run([worker_binary, "list"], capture_output=True, check=True).stdout
    types = {t["name"]: t for t in json.loads(text)["types"]}
    assert [name for name in types if name in EVERY_NAME.split()] == EVERY_NAME.split()
    basic = {name: types[name] for name in EVERY_NAME.split()}
    assert [n for n, t in basic.items() if t["group_size"] == 2] == ["PipeIo", "FutexPingPong"]
    defaults = {
        (name, p["name"]): p["default"] for name, t in basic.items() for p in t["params"]
    }  # fmt: skip
    assert defaults == {
        ("Bursty", "burst_us"): 50_000,
        ("Bursty", "sleep_us"): 100_000,
        ("PipeIo", "burst_iters"): 1024,
        ("FutexPingPong", "spin_iters"): 1024,
        ("AluHot", "width"): 4,
        ("TimerLatency", "interval_us"): 1000,
    }
    for t in types.values():
        assert all(p["min"] <= p["default"] <= p["max"] for p in t["params"])
    assert {n: t["fills"] for n, t in basic.items() if t["fills"]} == {
        "Bursty": ["wake_latencies_ns"],
        "PipeIo": ["wake_latencies_ns"],
        "FutexPingPong": ["wake_latencies_ns"],
        "IoSyncWrite": ["wake_latencies_ns"],
        "AluHot": ["iteration_costs_ns"],
        "TimerLatency": ["timer_latencies_ns"],
    }


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "the key type=NAME is missing"),
        (
            {"type": "spinwait", "workers": 1},
            'unknown work type "spinwait"; did you mean SpinWait?',
        ),
        (
            {"type": "Nonsense", "workers": 1},
            f'unknown work type "Nonsense"; there are: {EVERY_NAME} ',
        ),
        ({"type": "SpinWait"}, "SpinWait: the key workers=COUNT is missing"),
        (
            {"type": "SpinWait", "workers": 0},
            'SpinWait: workers must be an integer from 1 to 1024, found "0"',
        ),
        (
            {"type": "SpinWait", "workers": "1025"},
            'SpinWait: workers must be an integer from 1 to 1024, found "1025"',
        ),
        (
            {"type": "FutexPingPong", "workers": 3},
            "FutexPingPong: workers must be a multiple of 2, found 3",
        ),
        (
            {"type": "Bursty", "workers": 1, "burst_ms": 5},
            'Bursty: unknown key "burst_ms"; its parameters are: burst_us, sleep_us',
        ),
        (
            {"type": "SpinWait", "workers": 1, "width": 2},
            'SpinWait: unknown key "width"; its parameters are: none',
        ),
        (
            {"type": "AluHot", "workers": 1, "width": 9},
            'AluHot: width must be an integer from 1 to 8, found "9"',
        ),
        (
            {"type": "Bursty", "workers": 1, "burst_us": 0},
            'Bursty: burst_us must be an integer from 1 to 60000000, found "0"',
        ),
        (
            {"type": "SpinWait", "workers": "2x"},
            'SpinWait: workers must be an integer from 1 to 1024, found "2x"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "seed": -1},
            'SpinWait: seed must be an integer from 0 to 18446744073709551615, found "-1"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "affinity": "3-1"},
            f'SpinWait: affinity must be {AFFINITY}, found "3-1"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "affinity": "0,"},
            f'SpinWait: affinity must be {AFFINITY}, found "0,"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "affinity": "0-8192"},
            f'SpinWait: affinity must be {AFFINITY}, found "0-8192"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "policy": "rt"},
            ("SpinWait: policy must be normal, batch, idle, fifo, rr, deadline or ext, "
            'found "rt"'),
        ),
        (
            {"type": "SpinWait", "workers": 1, "policy": "rr"},
            "SpinWait: policy rr needs rt_prio from 1 to 99, found 0",
        ),
        (
            {"type": "SpinWait", "workers": 1, "nice": -21},
            'SpinWait: nice must be an integer from -20 to 19, found "-21"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "clone": "vfork"},
            'SpinWait: clone must be fork or thread, found "vfork"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "comm": "sixteen-letters!"},
            'SpinWait: comm must be a text of 1 to 15 bytes, found "sixteen-letters!"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "policy": "deadline", "dl_runtime_us": 20,
             "dl_deadline_us": 10, "dl_period_us": 30},
            ("SpinWait: policy deadline needs dl_runtime_us <= dl_deadline_us <= dl_period_us, "
            "found 20, 10, 30"),
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "near"},
            ("SpinWait: mempolicy must be default, bind, preferred, interleave, local, "
            'preferred-many or weighted-interleave, found "near"'),
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "bind"},
            "SpinWait: mempolicy needs mem_nodes",
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "local", "mem_nodes": 0},
            "SpinWait: mempolicy default and local take neither mem_nodes nor mem_flags",
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "preferred", "mem_nodes": "0-1"},
            "SpinWait: mempolicy preferred takes exactly one node",
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "bind", "mem_nodes": "0",
             "mem_flags": "static,relative"},
            "SpinWait: mem_flags static and relative exclude each other",
        ),
        (
            {"type": "SpinWait", "workers": 1, "mem_flags": "statics"},
            ("SpinWait: mem_flags must be a comma-separated list of static, relative, "
            'numa-balancing, found "statics"'),
        ),
        (
            {"type": "SpinWait", "workers": 1, "mempolicy": "bind", "mem_nodes": "1024"},
            'SpinWait: mem_nodes must be a list of nodes like 0-1,3, found "1024"',
        ),
        (
            {"type": "SpinWait", "workers": 1, "phases": 1},
            "SpinWait: phases needs slot and epoch_slot",
        ),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_one_clear_sentence(lead, keys, text):
    leader = lead(**keys)
    error = leader.error()
    # Only the list of all types goes on after the basic ones.
    assert error.startswith(text) if text.endswith(" ") else error == text
    assert leader.wait() == 2


def test_a_slot_beyond_the_counter_page(lead):
    leader = lead(type="SpinWait", workers=2, slot=511)
    assert leader.error() == (
        "SpinWait: slots 511 to 512 lie beyond the counter page of 4096 bytes"
    )
    assert leader.wait() == 1


def test_an_epoch_slot_beyond_the_counter_page(lead):
    leader = lead(type="SpinWait", workers=1, slot=0, epoch_slot=512, phases=3)
    assert leader.error() == ("SpinWait: epoch_slot 512 lies beyond the counter page of 4096 bytes")
    assert leader.wait() == 1


def test_usage(worker_binary):
    done = subprocess.run([worker_binary], capture_output=True, check=False)
    assert done.returncode == 2
    ways = b"worker lead KEY=VALUE... | worker wait | worker list | worker measure"
    assert done.stderr == b"usage: " + ways + b"\n"
