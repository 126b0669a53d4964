# SPDX-License-Identifier: GPL-2.0-only
"""Fuzz target for the frame decoder.

``python tests/fuzz/decoder.py [SECONDS]`` mutates streams by itself; with the fuzzer atheris
installed, ``fuzz_one`` is the function to instrument.
"""

import random
import sys
import time

from ktstr.wire import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    FrameDecoder,
    MsgType,
    WireError,
    encode_frame,
    unpack_map,
)


def fuzz_one(data: bytes) -> None:
    """Feed ``data`` in two pieces; anything but the one decode error escapes as a crash."""
    decoder = FrameDecoder()
    half = len(data) // 2
    frames = decoder.feed(data[:half]) + decoder.feed(data[half:])
    assert decoder.pending <= HEADER_SIZE + MAX_PAYLOAD
    frames += decoder.resync()
    assert decoder.pending == 0
    for frame in frames:
        try:
            unpack_map(frame.payload)
        except WireError:
            continue


def mutated(rng: random.Random) -> bytes:
    """A valid stream with bytes flipped, removed, repeated and inserted."""
    stream = bytearray()
    for number in range(rng.randrange(1, 8)):
        payload = rng.randbytes(rng.randrange(0, 64))
        stream += encode_frame(MsgType.AGENT_LOG, number, payload)
    for _ in range(rng.randrange(0, 6)):
        at = rng.randrange(len(stream) + 1)
        match rng.randrange(4):
            case 0:
                stream[at:at] = rng.randbytes(rng.randrange(1, 40))
            case 1:
                del stream[at : at + rng.randrange(1, 20)]
            case 2 if at < len(stream):
                stream[at] ^= 1 << rng.randrange(8)
            case _:
                stream += stream[at : at + 100]
    return bytes(stream)


def main() -> None:
    """Mutate until the time is over."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = time.time_ns()
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        data = mutated(rng)
        try:
            fuzz_one(data)
        except Exception:
            print(f"seed {seed}, input {count}: {data.hex()}", file=sys.stderr)
            raise
        count += 1
    print(f"{count} inputs, no crash")


if __name__ == "__main__":
    main()
