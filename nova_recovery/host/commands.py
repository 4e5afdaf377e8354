# SPDX-License-Identifier: Apache-2.0

"""Programs of the host, run without a shell and with a time limit."""

from __future__ import annotations

from collections.abc import Sequence
import os
import subprocess  # nosec B404

#: Seconds that a program which only looks may take.
PATIENCE = 60


class HostError(Exception):
    """A program is missing, failed, or took too long; the text says which."""


class NotInstalled(HostError):
    """There is no such program."""


class Failed(HostError):
    """A program ended with an error.

    :ivar said: what it complained of, on one line
    """

    def __init__(self, text: str, said: str) -> None:
        super().__init__(text)
        self.said = said


def run(
    words: Sequence[str], fine: Sequence[int] = (0,), timeout: float = PATIENCE
) -> str:
    """Run a program and return what it wrote.

    :param fine: exit codes that are no failure
    :raises NotInstalled: there is no such program
    :raises Failed: it ended with another exit code
    :raises HostError: it hung
    """
    try:
        done = subprocess.run(  # nosec B603
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, 'LC_ALL': 'C'},
            check=False,
        )
    except FileNotFoundError:
        raise NotInstalled(f'{words[0]} is not installed') from None
    except OSError as error:
        raise HostError(f'{words[0]}: {error.strerror}') from error
    except subprocess.TimeoutExpired:
        raise HostError(
            f'{words[0]} did not end within {timeout:.0f} s'
        ) from None
    if done.returncode not in fine:
        said = ' '.join(done.stderr.decode(errors='replace').split())
        raise Failed(
            f'{" ".join(words)} ended with {done.returncode}: {said[:300]}',
            said,
        )
    return done.stdout.decode(errors='replace')
