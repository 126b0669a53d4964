# SPDX-License-Identifier: GPL-2.0-only
"""Child processes: spawn with chosen descriptors, end, reap."""

from __future__ import annotations

# Built in and without a stub; the signal module would bring enum along.
import _signal
import fcntl
import os
import select
import time

from agent.system import write_text

TIOCSCTTY = 0x540E
# The signal module costs an import of enum; these numbers are Linux's on x86-64.
SIGKILL, SIGTERM, SIGSTOP = 9, 15, 19
# SCHED_FIFO keeps the agent and its helpers answering while a broken scheduler starves
# ordinary tasks; SCHED_RESET_ON_FORK keeps their children ordinary.
REALTIME = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
# Above workers of a real-time policy, which may otherwise take every CPU for good; the
# highest priority, 99, is the fault's that shows what a guest without an agent looks like.
PRIORITY = 98
REAP_PAUSE_S = 0.005
REAP_S = 1.0
# Python ignores these; a program that is started expects Linux's defaults.
_DEFAULT_SIGNALS = (13, 25)  # SIGPIPE, SIGXFSZ


def become_realtime() -> None:
    """Run this process above every task a sched_ext scheduler can hold back."""
    os.sched_setscheduler(0, REALTIME, os.sched_param(PRIORITY))


def outlive_others() -> None:
    """Let the kernel, short of memory, kill anyone but this process."""
    write_text("/proc/self/oom_score_adj", "-1000")


def reserve_low_fds(below: int = 16) -> None:
    """Occupy the low descriptors, so that no later one collides with a spawn target."""
    while True:
        fd = os.open("/dev/null", os.O_RDWR)
        if fd >= below:
            os.close(fd)
            return


class Place:
    """Environment and folder of a program; ``terminal``: its descriptor 0 becomes its terminal."""

    def __init__(
        self, env: dict[str, str] | None = None, cwd: str | None = None, *, terminal: bool = False
    ) -> None:
        self.env = env
        self.cwd = cwd
        self.terminal = terminal


class Child:
    """One child process and its pidfd."""

    def __init__(
        self,
        argv: list[str],
        fds: dict[int, int],
        *,
        realtime: bool = False,
        procs_fd: int | None = None,
        place: Place | None = None,
    ) -> None:
        """Start ``argv``; ``fds`` maps the child's descriptor numbers to ours.

        :param procs_fd: an open ``cgroup.procs``; the program begins in that cgroup. What keeps
            it from beginning is then on its standard error, with exit status 127.
        :param place: where else it begins; what keeps it from that is told in the same way.
        :raise OSError: when the program cannot be started.
        """
        self.status: int | None = None
        self.pidfd = -1
        if procs_fd is None and place is None:
            self.pid = _spawn(argv, fds)
        else:
            self.pid = _fork_into(argv, fds, procs_fd, place or Place())
        try:
            self.pidfd = os.pidfd_open(self.pid)
            self._expose()
            if realtime:
                os.sched_setscheduler(self.pid, REALTIME, os.sched_param(PRIORITY))
        except OSError:
            self.kill(SIGKILL)
            self.wait(REAP_S)
            self.close()
            raise

    def _expose(self) -> None:
        """Take back what the child inherits of :func:`outlive_others`."""
        try:
            write_text(f"/proc/{self.pid}/oom_score_adj", "0")
        except PermissionError:
            pass  # an agent outside its guest, which does not outlive anyone

    def poll(self) -> bool:
        """Whether the child has ended; its wait status is then in ``status``."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def kill(self, number: int) -> None:
        """Signal the child's process group; a child that is gone is no error."""
        if self.status is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, seconds: float) -> bool:
        """Wait for the end without serving the loop; whether it came in time."""
        deadline = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() >= deadline:
                return False
            time.sleep(REAP_PAUSE_S)
        return True

    def close(self) -> None:
        """Release the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _spawn(argv: list[str], fds: dict[int, int]) -> int:
    return os.posix_spawn(
        argv[0],
        argv,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in fds.items()],
        setpgroup=0,
        setsigdef=_DEFAULT_SIGNALS,
    )


def _fork_into(argv: list[str], fds: dict[int, int], procs_fd: int | None, place: Place) -> int:
    # posix_spawn has no attribute for a cgroup, and to move the program after it began would
    # let its first instructions, or its children, run elsewhere.
    pid = os.fork()
    if pid:
        try:
            if not place.terminal:
                os.setpgid(pid, pid)  # both do it, so that whoever is first suffices
        except OSError:
            pass
        return pid
    try:
        if place.terminal:
            os.setsid()
        else:
            os.setpgid(0, 0)
        for number in _DEFAULT_SIGNALS:
            _signal.signal(number, _signal.SIG_DFL)
        for theirs, ours in fds.items():
            os.dup2(ours, theirs)
        if place.terminal:
            fcntl.ioctl(0, TIOCSCTTY, 0)
        if procs_fd is not None:
            os.write(procs_fd, b"0")
        if place.cwd is not None:
            os.chdir(place.cwd)
        os.execve(argv[0], argv, os.environ if place.env is None else place.env)
    except OSError as error:
        os.write(2, f"{argv[0]} did not start: {error.strerror}\n".encode())
    finally:
        os._exit(127)  # never back into the agent's code


def wait_for_deaths(pids: list[int], seconds: float) -> bool:
    """Wait until none of these processes runs any more; whether they ended in time.

    They need not be children: whoever their parent is, a pidfd tells their end.
    """
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
        finally:
            os.close(pidfd)
    return True


def describe_status(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "still running"
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exited with status {os.WEXITSTATUS(status)}"
