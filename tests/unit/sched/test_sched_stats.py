# SPDX-License-Identifier: GPL-2.0-only
"""The scx_stats protocol over the loader's own server code."""

import json
import select
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOP = b'{"req":"stats","args":{"target":"top"}}\n'
EINVAL, E2BIG = 22, 7
REQUEST_MAX, CLIENTS_MAX = 16 * 1024, 16


def ask(one, line):
    one.send(line)
    return json.loads(one.line())


def test_a_request_for_the_top_target(client):
    reply = ask(client(), TOP)
    assert reply["errno"] == 0
    assert reply["args"]["resp"]["answer"] == 42


def test_the_target_may_be_left_out(client):
    assert ask(client(), b'{"req":"stats"}\n')["args"]["resp"]["answer"] == 42


def test_the_metadata(client):
    assert ask(client(), b'{"req":"stats_meta"}\n') == {
        "errno": 0, "args": {"resp": {"Top": {}}}}  # fmt: skip


def test_a_connection_survives_wrong_requests(client):
    one = client()
    for wrong in (b"\n", b"[]\n", b'{"req":"halt"}\n', b'{"req":"stats","args":{"target":"x"}}\n',
                  b'{"req":1}\n', b'{"req":"stats"} more\n', b"[" * 5000 + b"\n"):  # fmt: skip
        reply = ask(one, wrong)
        assert reply["errno"] == EINVAL
        assert reply["args"]["resp"]
    assert ask(one, TOP)["errno"] == 0


def test_a_request_in_pieces_and_two_in_one(client):
    one = client()
    for byte in TOP[:-1]:
        one.send(bytes([byte]))
    one.send(b"\n" + TOP)
    assert [json.loads(one.line())["errno"] for _ in range(2)] == [0, 0]


def test_an_endless_request_is_cut_off(client):
    one = client()
    one.send(b"x" * REQUEST_MAX)
    assert json.loads(one.line())["errno"] == E2BIG
    assert one.line() == b"", "the connection is closed"


def test_the_longest_request_is_answered(client):
    head, tail = b'{"pad":"', b'","req":"stats"}\n'
    line = head + b"x" * (REQUEST_MAX - len(head) - len(tail)) + tail
    assert ask(client(), line)["errno"] == 0


def flood(one):
    """Send requests and read nothing until the server takes no more."""
    one.sock.setblocking(False)
    try:
        for _ in range(100_000):
            one.sock.send(TOP)
    except BlockingIOError:
        one.sock.settimeout(10)
        return
    raise AssertionError("the server reads requests without an end")


def test_a_client_that_does_not_read_hinders_nobody_and_keeps_its_replies(client):
    deaf = client()
    flood(deaf)
    assert ask(client(), TOP)["errno"] == 0
    # 64 KiB each: ten are more than the socket holds, so they had to wait.
    assert [json.loads(deaf.line())["errno"] for _ in range(10)] == [0] * 10


def test_a_client_that_never_reads_is_dropped_at_its_deadline(client, hasty_socket):
    deaf = client(hasty_socket)
    # Ends in the drop: only that lets the buffers, which nobody empties, take no more.
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            flood(deaf)
            select.select([], [deaf.sock], [], 10)
    assert ask(client(hasty_socket), TOP)["errno"] == 0


def test_nesting_is_limited(client):
    one = client()
    for depth, errno in ((10, 0), (40, EINVAL)):
        nested = b"[" * depth + b"]" * depth
        assert ask(one, b'{"req":"stats_meta","x":' + nested + b"}\n")["errno"] == errno


def test_texts_are_limited_to_63_bytes(client):
    one = client()
    for size, said in ((63, "unknown request"), (64, "not a request"), (68, "not a request")):
        assert said in ask(one, b'{"req":"' + b"r" * size + b'"}\n')["args"]["resp"]
        key = b'{"req":"?","' + b"k" * size + b'":1}\n'
        assert said in ask(one, key)["args"]["resp"]


def test_idle_clients_make_room_oldest_first(client):
    idle = [client() for _ in range(CLIENTS_MAX)]
    for one in idle:
        assert ask(one, TOP)["errno"] == 0
    assert ask(client(), TOP)["errno"] == 0
    assert idle[0].line() == b"", "the longest idle one was dropped"
    assert ask(idle[1], TOP)["errno"] == 0


def test_a_client_that_leaves_in_the_middle(client):
    for _ in range(50):
        gone = client()
        gone.send(TOP[:20])
        gone.close()
        reset = client()
        reset.send(TOP)
        reset.close()
    assert ask(client(), TOP)["errno"] == 0


plain = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)
other = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
requests = st.fixed_dictionaries(
    {"req": st.sampled_from(["stats", "stats_meta"]) | plain},
    optional={
        "args": st.fixed_dictionaries(
            {}, optional={"target": st.just("top") | plain, "more": other}
        ),
        "extra": other,
    },
)
over_sockets = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def known(request):
    if not isinstance(request, dict):
        return False
    target = request.get("args", {}).get("target", "top") or "top"
    return request.get("req") == "stats_meta" or (request.get("req") == "stats" and target == "top")


@over_sockets
@given(requests, st.sampled_from([None, 0, 1]))
def test_every_valid_request_is_understood(stats_socket, request_object, indent):
    line = json.dumps(request_object, indent=indent).replace("\n", " ").encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stats_socket)
        sock.settimeout(10)
        sock.sendall(line)
        with sock.makefile("rb") as lines:
            reply = json.loads(lines.readline())
    assert (reply["errno"] == 0) == known(request_object)


@over_sockets
@given(
    st.binary(max_size=200).map(lambda raw: raw.replace(b"\n", b"")),
    st.integers(0, len(TOP) - 1),
    st.booleans(),
)
def test_garbage_gets_one_error_and_never_more(stats_socket, noise, at, splice):
    line = TOP[:at] + noise + TOP[at:-1] if splice else noise
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stats_socket)
        sock.settimeout(10)
        sock.sendall(line + b"\n")
        with sock.makefile("rb") as lines:
            reply = json.loads(lines.readline())
            sock.shutdown(socket.SHUT_WR)
            assert lines.readline() == b""
    if reply["errno"] == 0:
        # Only what is JSON in the widest reading of its bytes may pass.
        assert known(json.loads(line.decode("latin-1"), strict=False))
