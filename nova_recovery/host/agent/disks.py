# SPDX-License-Identifier: Apache-2.0

"""The verb ``disks``: what of servers this host can see, run here or not.

Files are looked at by programs that are given up after some seconds: a dead
NFS server hangs whoever looks at it.
"""

import argparse
import json
import os
import time
from typing import Any, Callable, Dict, List, Sequence

from nova_recovery.host.agent import ceph, layout, mounts, programs
from nova_recovery.host.agent.lines import AgentError

HELP = 'the disks of servers that can be seen here'

_PATIENCE = 10
_FILES = ['-maxdepth', '1', '-type', 'f']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        '--server',
        action='append',
        default=[],
        metavar='UUID',
        help='may be repeated',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    say(
        'result',
        time=time.time(),
        directory=directory(found['instances'], parsed.server),
        ceph=ceph.disks(found, parsed.server),
    )
    return 0


def directory(path: str, servers: Sequence[str]) -> Dict[str, Any]:
    """The instances directory, and what of servers lies in it.

    :returns: ``path``, ``type`` and ``source`` of its file system, ``remote``
        (by its type), ``users``: host -> seconds since 1970, by its own
        clock, when its nova-compute last wrote there that it keeps its
        servers here (``register_storage_use`` in nova/virt/storage_users.py),
        ``files``: server -> names, of those that have a directory; and
        ``why`` this is not known, '' if it is
    """
    mount = mounts.Table(mounts.read()).mount_of(os.fsencode(path))
    row = {'path': path, 'type': '', 'source': '', 'remote': False}  # type: Any
    row.update(users={}, files={}, why='')
    if mount is None:
        return dict(row, why='nobody says what {} lies on'.format(path))
    row['type'], row['remote'] = mount.type, mount.shared
    row['source'] = os.fsdecode(mount.source)
    wanted = [os.path.join(path, server) for server in servers]
    try:
        # a link would lead elsewhere than the mount that was told
        real = _said(['realpath', '-e', '--', path]).strip()
        if real != os.path.normpath(path):
            return dict(row, why='{} is a link, or is not there'.format(path))
        row['users'] = _users(os.path.join(path, 'compute_nodes'))
        listed = _said(['find'] + wanted + _FILES) if wanted else ''
    except AgentError as error:
        return dict(row, why=str(error))
    for line in listed.splitlines():
        where, name = os.path.split(line)
        row['files'].setdefault(os.path.basename(where), []).append(name)
    return row  # type: ignore


def _said(words: List[str]) -> str:
    """What a program says; of files that are not there it says nothing."""
    code, text, complained = programs.run(words, _PATIENCE)
    missing = complained.count('No such file or directory')
    # one that was killed says nothing, and has not seen all
    if code and (not missing or complained.count(words[0] + ': ') != missing):
        raise AgentError(complained[-300:] or 'it ended with %d' % code)
    return text


def _users(path: str) -> Dict[str, float]:
    try:
        known = json.loads(_said(['cat', '--', path]) or '{}')
        return {str(host): float(when) for host, when in known.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise AgentError('{}: {}'.format(path, error)) from None
