# SPDX-License-Identifier: GPL-2.0-only
"""Makes a page, or what it draws, of a record: ``python -m ktstr.daemon.render WHAT SIDECAR``.

A process of its own, because reading a record takes imports that the daemon has no other use for.
"""

import json
import sys
from pathlib import Path

from ktstr.errors import KtstrError
from ktstr.report.page.data import page_data
from ktstr.report.page.html import page_html
from ktstr.session.sidecar.read import read_sidecar


def main() -> int:
    """Write it to standard output.

    :return: the exit status.
    """
    _, what, name = sys.argv
    try:
        record = read_sidecar(Path(name))
    except KtstrError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit_code)
    page = what == "page"
    text = page_html(record) if page else json.dumps(page_data(record), allow_nan=False)
    sys.stdout.buffer.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
