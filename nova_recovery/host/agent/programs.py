# SPDX-License-Identifier: Apache-2.0

"""Programs of the host, run without a shell and with a time limit."""

import os
import shutil
import subprocess  # nosec B404
from typing import Optional, Sequence, Tuple

from nova_recovery.host.agent.lines import AgentError

#: Seconds that a program may take that only looks.
PATIENCE = 30
#: And, killed, to be gone.
_LAST = 2
#: Where they are; who comes by sudo or ssh may have a shorter PATH.
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


class Missing(AgentError):
    """There is no such program on this host."""


class TookTooLong(AgentError):
    """A program did not end in time; it was ended by force."""


def find(name: str) -> Optional[str]:
    """The path of a program, None where there is none."""
    return shutil.which(name, path=PATH)


def run(
    words: Sequence[str], seconds: float = PATIENCE, given: str = ''
) -> Tuple[int, str, str]:
    """Run a program to its end.

    :param given: what it reads
    :returns: (exit code, what it wrote, what it complained of)
    :raises Missing: there is no such program
    :raises TookTooLong: it had not ended after so many seconds; if it waits
        for a disk, it still has not
    """
    path = find(words[0])
    if path is None:
        raise Missing('{} is not installed'.format(words[0]))
    process = subprocess.Popen(  # nosec B603
        [path] + list(words[1:]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, LC_ALL='C', PATH=PATH),
    )
    try:
        printed, complained = process.communicate(
            given.encode('utf-8', 'surrogateescape'), seconds
        )
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise TookTooLong(
                '{} did not end within {:.0f} s'.format(
                    ' '.join(words), seconds
                )
            ) from None
        raise
    return (
        process.returncode,
        printed.decode('utf-8', 'surrogateescape'),
        ' '.join(complained.decode('utf-8', 'replace').split()),
    )


def _end(process: 'subprocess.Popen[bytes]') -> None:
    """By force; one that waits for a dead disk does not end even then.

    It is left behind: subprocess.run() would wait for it without limit.
    """
    process.kill()
    try:
        process.wait(_LAST)
    except subprocess.TimeoutExpired:
        pass
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
