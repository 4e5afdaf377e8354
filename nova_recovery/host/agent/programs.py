# SPDX-License-Identifier: Apache-2.0

"""Programs of the host, run without a shell and with a time limit."""

import os
import shutil
import subprocess  # nosec B404
from typing import Optional, Sequence, Tuple

from nova_recovery.host.agent.lines import AgentError

#: Seconds that a program may take that only looks.
PATIENCE = 30
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
    :raises TookTooLong: it had not ended after so many seconds
    """
    path = find(words[0])
    if path is None:
        raise Missing('{} is not installed'.format(words[0]))
    try:
        done = subprocess.run(  # nosec B603
            [path] + list(words[1:]),
            input=given.encode('utf-8', 'surrogateescape'),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, LC_ALL='C', PATH=PATH),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TookTooLong(
            '{} did not end within {:.0f} s'.format(' '.join(words), seconds)
        ) from None
    return (
        done.returncode,
        done.stdout.decode('utf-8', 'surrogateescape'),
        ' '.join(done.stderr.decode('utf-8', 'replace').split()),
    )
