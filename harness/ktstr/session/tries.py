# SPDX-License-Identifier: GPL-2.0-only
"""When a lost guest says nothing about the scheduler, and the run is started again."""

from dataclasses import dataclass, field

from ktstr.errors import GuestLost
from ktstr.session.emulator import MAX_TRIES, may_have_slipped
from ktstr.session.live import Live
from ktstr.vm.console import tail


@dataclass(slots=True)
class Tries:
    """What the tries of one run that came to nothing taught the next.

    :ivar why: a sentence for each of them.
    :ivar slips: how many of them the emulator may have spoilt.
    :ivar why_cold: why the guest has to boot now.
    """

    why: list[str] = field(default_factory=list)
    slips: int = 0
    why_cold: str | None = None

    def learn(self, live: Live, error: GuestLost) -> bool:
        """Whether a lost guest is to be tried again, and how."""
        if live.warm.reached and not live.link.heard:
            # It stood at its mailbox when it was saved, so what it was told cannot be the cause.
            live.warm.give_up(error.message)
            self.why_cold = "the template's guest did not go on"
            self.why.append(
                f"a guest continued from a template said nothing ({error.message}); "
                "the template was removed and the guest booted"
            )
            return True
        if live.machine.spec.virtual is not None:
            return False
        console = tail(live.machine.console_log)
        if self.slips + 1 < MAX_TRIES and may_have_slipped(
            live.prepared.accel.name, error, console
        ):
            self.slips += 1
            self.why_cold = "all vCPUs are on one thread this time"
            self.why.append(
                f"the emulator seems to have slipped ({error.message}); "
                "the run was started again with all vCPUs on one thread"
            )
            return True
        return False
