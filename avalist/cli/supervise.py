"""The parent of ``avalist up``: holds the listening socket, and starts decider and follower again when they die.

The decider is a fork of this process, which has loaded the code and the compiled kernels and does nothing else: a new
one begins at once to read the newest snapshot. Meanwhile callers' connections wait in the socket's queue.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final, Literal

from avalist.cli.options import console
from avalist.config import Settings

_HANDLED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
_ASKED_TO_END: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S: Final = 0.2
_SETTLED_S: Final = 10.0
_AT_ONCE: Final = 3
_LONGEST_S: Final = 30.0

Child = Literal["decider", "follower"]


class Supervisor:
    """Runs the two children until one of them ends by itself, or this process is asked to end."""

    def __init__(self, settings: Settings) -> None:
        here = str(os.getpid())
        self._follow = [sys.executable, "-P", "-m", "avalist", "follow", "--data", str(settings.data), "--parent", here]
        self._environment = {**os.environ, "AVALIST_HOST": settings.host, "AVALIST_PORT": str(settings.port)}
        self._pids: dict[int, Child] = {}
        self._begun_s: dict[Child, float] = {}
        self._deaths: dict[Child, int] = {"decider": 0, "follower": 0}
        self._due_s: dict[Child, float] = {"decider": 0.0, "follower": 0.0}
        self._stopping = False
        self._told, self._tell = os.pipe()

    def run(self) -> int | None:
        """Return None in a decider, and in the parent, when all is over, the exit code of the last one."""
        os.set_blocking(self._tell, False)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        for number in _HANDLED:  # a library's thread may get the signal: without a handler the process would end
            signal.signal(number, lambda *_: None)
        while True:
            for child in [child for child, due_s in self._due_s.items() if due_s <= time.monotonic()]:
                if not self._start(child):
                    return None
            wait_s = min([due_s - time.monotonic() for due_s in self._due_s.values()], default=_LONGEST_S)
            if {signal.SIGINT, signal.SIGTERM} & self._wait(max(wait_s, 0.0)):
                self._end("decider")
            code = self._reap()
            if code is not None:
                return code

    def _wait(self, most_s: float) -> set[int]:
        """Return the signals that came, to whichever thread, after waiting so long for one."""
        ready, _, _ = select.select([self._told], [], [], most_s)
        return set(os.read(self._told, 4096)) if ready else set()

    def _start(self, child: Child) -> bool:
        """Start a child; return False in the decider itself."""
        del self._due_s[child]
        self._begun_s[child] = time.monotonic()
        parent = os.getpid()
        if child == "follower":
            pid = os.posix_spawn(sys.executable, self._follow, self._environment, setsigmask=())
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
            pid = os.fork()
            if not pid:
                self._become_decider(parent)
                return False
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        self._pids[pid] = child
        return True

    def _become_decider(self, parent: int) -> None:
        """Leave the parent's signals to it; what came for this process meanwhile takes effect now."""
        signal.set_wakeup_fd(-1)
        for end in (self._told, self._tell):
            os.close(end)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()

    def _end(self, child: Child) -> None:
        """Ask a child to end; nothing is started any more."""
        self._stopping = True
        self._due_s.clear()
        for pid, name in self._pids.items():
            if name == child:
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> int | None:
        """Take note of every child that ended; return the exit code once the decider's was its own choice."""
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return None
            child, code = self._pids.pop(pid), os.waitstatus_to_exitcode(status)
            if child == "decider" and (self._stopping or code >= 0 or -code in _ASKED_TO_END):
                self._end("follower")
                for other in self._pids:
                    os.waitpid(other, 0)
                return max(code, 0)
            if not self._stopping:
                self._again(child, code)
        return 0 if self._stopping else None

    def _again(self, child: Child, code: int) -> None:
        """Start a child again: at once, but later and later when it dies young for the fourth time in a row."""
        now_s = time.monotonic()
        young = now_s - self._begun_s[child] < _SETTLED_S
        self._deaths[child] = self._deaths[child] + 1 if young else 0
        tries = self._deaths[child] - _AT_ONCE
        wait_s = min(2.0**tries, _LONGEST_S) if tries > 0 else 0.0
        self._due_s[child] = now_s + wait_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        with suppress(OSError):  # where that goes the disk may be full
            console.print(
                f"[yellow]the {child} died ({how}) and is started again{f' in {wait_s:.0f} s' * (wait_s > 0)}[/]"
            )


def _end_with(parent: int) -> None:
    """End this process, in peace, when its parent has died."""
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
