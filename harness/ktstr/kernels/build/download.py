# SPDX-License-Identifier: GPL-2.0-only
"""Download one large file over HTTP, hashing it on the way."""

import hashlib
import urllib.error
import urllib.request
from functools import partial
from http.client import HTTPException
from pathlib import Path

from anyio import from_thread, to_thread

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import Progress

_CHUNK = 1 << 18
_ANSWER_SECONDS = 60.0
_MAX_BYTES = 4 << 30


async def download(url: str, dest: Path, *, label: str, progress: Progress) -> str:
    """Save *url* as *dest* and return its sha256 in hexadecimal.

    Each wait for the server's next bytes is bounded by a minute.

    :raise HostUnfit: it cannot be had, is larger than any source, or stops arriving.
    """
    return await to_thread.run_sync(partial(_download, url, dest, label, progress))


def _download(url: str, dest: Path, label: str, progress: Progress) -> str:
    digest = hashlib.sha256()
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer, dest.open("wb") as out:
            size = int(answer.headers.get("Content-Length") or 0)
            text = f"downloading {label}" + (f" ({size / 1e6:.1f} MB)" if size else "")
            while chunk := answer.read(_CHUNK):
                done += len(chunk)
                if done > _MAX_BYTES:
                    raise HostUnfit(f"{url} is larger than {_MAX_BYTES >> 30} GiB")
                digest.update(chunk)
                out.write(chunk)
                from_thread.run_sync(progress, text, min(1.0, done / size) if size else None)
    except urllib.error.HTTPError as error:
        error.close()
        raise HostUnfit(f"{url}: the server answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", None) or error
        raise HostUnfit(
            f"{url} could not be downloaded: {why}", hint="check the address and the network"
        ) from error
    if size and done != size:
        raise HostUnfit(f"{url} ended after {done} of {size} bytes", hint="try again")
    return digest.hexdigest()
