# SPDX-License-Identifier: Apache-2.0

"""Starts one of OpenStack's programs over and over, imported once.

A power loss or a reset starts half a dozen of them, and two thirds of what
that costs is Python reading the same modules again. What runs is the
program's own ``main``, in a process and a session of its own.

Run by the cloud's Python, which has OpenStack and nothing of ours:
``python forkserver.py SOCKET PROGRAM``. A connection brings the argv, the
environment, the directory and the log file as JSON, and gets the pid.
"""

# not socket: what is imported may replace that by one of its own
import _socket
import contextlib
import gc
from importlib import metadata
import json
import os
import random
import signal
import sys


def main(path: str, program: str) -> None:
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listening.bind(path)
    (entry,) = metadata.entry_points(group='console_scripts', name=program)
    begin = entry.load()
    gc.collect()
    # or the first collection of each copies all pages
    gc.freeze()
    # nobody waits for them here: they end without a trace
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # who connects finds a program that is ready
    listening.listen(8)
    while True:
        number, _address = listening._accept()
        asking = _socket.socket(fileno=number)
        try:
            wanted = json.loads(_all(asking))
        except (OSError, ValueError) as error:
            # who asked has died over it
            print(error, file=sys.stderr)
            asking.close()
            continue
        pid = os.fork()
        if pid == 0:
            listening.close()
            asking.close()
            _become(wanted)
            sys.exit(begin())
        with contextlib.suppress(OSError):
            asking.send(str(pid).encode())
        asking.close()


def _all(asking: _socket.socket) -> bytes:
    """What comes until the other side has said all."""
    parts = []
    while part := asking.recv(1 << 16):
        parts.append(part)
    return b''.join(parts)


def _become(wanted: dict) -> None:
    """Be the process that a shell would have made."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    os.chdir(wanted['directory'])
    os.environ.clear()
    os.environ.update(wanted['environment'])
    sys.argv = wanted['argv']
    log = os.open(wanted['log'], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == '__main__':
    main(*sys.argv[1:])
