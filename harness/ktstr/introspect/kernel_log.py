# SPDX-License-Identifier: GPL-2.0-only
"""The guest's kernel log, read from its memory: complete also when the guest is dead.

The serial console shows errors only, because printing costs an emulated guest much time.
"""

import drgn
from drgn.helpers.linux.printk import get_printk_records

from ktstr.errors import KernelUnfit
from ktstr.introspect.kernel import Kernel

MAX_RECORDS = 100_000


def read_kernel_log(kernel: Kernel) -> str:
    """Every record still in the ring buffer, as ``dmesg`` prints them.

    :raises KernelUnfit: when this kernel's ring buffer cannot be read.
    """
    try:
        records = get_printk_records(kernel.prog)[-MAX_RECORDS:]
    except (LookupError, ValueError, TypeError, AttributeError, drgn.FaultError) as error:
        raise KernelUnfit(f"the kernel log cannot be read from memory: {error}") from None
    lines = []
    for record in records:
        stamp = f"[{record.timestamp // 10**9:5d}.{record.timestamp // 1000 % 10**6:06d}] "
        text = record.text.decode("utf-8", "replace")
        lines.append(stamp + text.replace("\n", "\n" + " " * len(stamp)))
    return "\n".join(lines) + "\n" if lines else ""
