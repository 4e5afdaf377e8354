# SPDX-License-Identifier: Apache-2.0

"""Units that stay off until they are given back, whoever starts them.

A reboot would start them by itself, and libvirt then gives its directories
the number that another account's files still have. A drop-in has systemd pass
a unit by for as long as a file is there. A mask could not: a unit that lies in
/etc has none, and whatever requires a masked one fails with it.
"""

import glob
import hashlib
import os
from typing import Sequence

from nova_recovery.host.agent import files, programs
from nova_recovery.host.agent.lines import AgentError

FOLDER = '/etc/systemd/system'
#: The last in the order of names: nobody takes the condition back.
_OURS = 'zz-nova-recovery-'

_TEXT = """\
# The numbers of accounts are being changed by nova-recovery. This file goes
# with "services start --state {state}". By hand:
#   rm {marker} {path}
#   systemctl daemon-reload
[Unit]
ConditionPathExists=!{condition}
"""


def hold(state: str, names: Sequence[str]) -> None:
    """Have systemd pass these by; again what is missing of it.

    :param state: an absolute path: where it is remembered
    :param names: of units, with their endings
    :raises AgentError: it can't be
    """
    marker = where(state)
    try:
        for name in names:
            path = _path(state, name)
            if os.path.exists(path):
                continue
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            text = _TEXT.format(
                state=state,
                marker=marker,
                path=path,
                # as it stands: %h and the like mean something to systemd
                condition=marker.replace('%', '%%'),
            )
            files.put(path, text, 0o644)
    except OSError as error:
        raise AgentError(
            '{}: {}: nothing would keep it off at a reboot'.format(
                error.filename or FOLDER, error.strerror
            )
        ) from None
    if names:
        # each time: they may lie there since one that failed, or was killed,
        # before systemd had read them
        _reload()
    if not os.path.exists(marker):
        files.put(marker, '', 0o600)


def holds(state: str) -> bool:
    """Whether :func:`hold` came to its end, and nobody released them."""
    return os.path.exists(where(state))


def by(name: str) -> str:
    """The file that keeps a unit off, whoever made it; '' if none does."""
    for path in sorted(
        glob.glob('{}/{}.d/{}*.conf'.format(FOLDER, glob.escape(name), _OURS))
    ):
        for line in files.read(path):
            key, _equals, value = line.partition('=!')
            marker = value.replace('%%', '%')
            if key == 'ConditionPathExists' and os.path.exists(marker):
                return marker
    return ''


def release(state: str, names: Sequence[str]) -> None:
    """They may be started again: all at once, then what is left is removed.

    :param names: all that were held
    :raises AgentError: systemd doesn't answer
    """
    if holds(state):
        os.unlink(where(state))
        files.sync(state)
    paths = [_path(state, name) for name in names]
    there = [path for path in paths if os.path.exists(path)]
    for path in there:
        os.unlink(path)
        try:
            os.rmdir(os.path.dirname(path))
        except OSError:
            # somebody has others there
            pass
    if there:
        _reload()


def where(state: str) -> str:
    """The file that holds them, for as long as it is there."""
    return os.path.join(state, 'held')


def _path(state: str, name: str) -> str:
    # of each run its own
    own = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    return '{}/{}.d/{}{}.conf'.format(FOLDER, name, _OURS, own)


def _reload() -> None:
    code, _said, complained = programs.run(['systemctl', 'daemon-reload'])
    if code:
        raise AgentError('systemctl daemon-reload: {}'.format(complained))
