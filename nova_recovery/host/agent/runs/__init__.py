# SPDX-License-Identifier: Apache-2.0

"""What takes long: it outlives the connection, and who started it.

A run is a directory with ``request.json`` (the words of its verb),
``status.jsonl`` (all lines that it said, between ``begun`` and ``ended``) and
``lock``, which is held while it works.
"""

import os
import re

from nova_recovery.host.agent.lines import Refused

#: Where the agent keeps what it must remember.
HOME = '/var/lib/nova-recovery'
#: It becomes the name of a unit and of a directory.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$')


def where(home: str, run: str) -> str:
    """The directory of a run.

    :raises Refused: that can't be the name of a run
    """
    if not _NAME.match(run):
        raise Refused(
            '{!r}: letters, digits, ".", "_" and "-" name a run'.format(run)
        )
    return os.path.join(os.path.abspath(home), 'runs', run)


def path(folder: str, name: str) -> str:
    return os.path.join(folder, name)
