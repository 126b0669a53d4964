# SPDX-License-Identifier: GPL-2.0-only
"""Telling a slip of the emulator from a fault of the guest."""

from ktstr.errors import BootTimeout, GuestLost

MAX_TRIES = 2
"""How often a run is started, at most: the second time on one thread, which cannot slip."""

STALE_BREAKPOINT = "Oops: int3"


def avoiding_words(accelerator: str, has_sched_ext: bool | None) -> tuple[str, ...]:
    """Kernel arguments that keep a guest from what the emulator gets wrong.

    QEMU 7.2 now and then spoils the flags after ``cmpxchg16b``, on which the memory allocator of
    6.12 rests: two of three boots of Debian's ended in a panic. Without the instruction it takes a
    lock instead. Kernels with sched_ext do not show the fault, and schedulers may need it.
    """
    return ("clearcpuid=cx16",) if accelerator == "tcg" and has_sched_ext is False else ()


def may_have_slipped(accelerator: str, error: GuestLost, console: str) -> bool:
    """Whether a lost guest is worth a second try on one thread.

    A slip during boot may also end in silence; a kernel that cannot boot costs one more deadline.
    """
    return slipped(accelerator, console) or (
        accelerator == "tcg" and isinstance(error, BootTimeout)
    )


def slipped(accelerator: str, console: str) -> bool:
    """Whether the guest died of an instruction that was never in its memory.

    The kernel patches its own code (static keys, as when a sched_ext scheduler is enabled) by
    putting a breakpoint on the first byte for a moment. Under TCG with one thread per vCPU,
    QEMU before 8.1 can translate the page while it is written and keep the breakpoint in its
    translation; the kernel then traps where no breakpoint is. No scheduler can cause this trap:
    BPF programs cannot contain it.
    """
    return accelerator == "tcg" and STALE_BREAKPOINT in console
