# SPDX-License-Identifier: Apache-2.0

"""The verb ``shared``: which directories several hosts have in common.

As nova itself finds out (``_create_shared_storage_test_file`` in
nova/virt/libvirt/driver.py): one host leaves a file with a name that nobody
else would give, the others look for it. Before that nothing is touched: a
look at a dead NFS server hangs.
"""

import argparse
import errno
import os
import re
from typing import Any, Callable, Dict, List, Sequence

from nova_recovery.host.agent import files, layout, mounts
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'directories that other hosts have too: list, mark, look, clear'

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_TOKEN = re.compile(r'[0-9a-f]{8,64}$')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=['list', 'mark', 'look', 'clear'])
    parser.add_argument(
        '--path',
        action='append',
        default=[],
        metavar='DIR',
        type=files.typed,
        help='such a directory, may be given several times; for list, one'
        ' more to tell of',
    )
    parser.add_argument(
        '--token', metavar='HEX', help='what the names of the files begin with'
    )
    parser.add_argument(
        '--number',
        type=int,
        default=0,
        metavar='N',
        help="mark, clear: of the first directory's file, the others count"
        ' on; look: how many files there are',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    paths = [os.path.abspath(path) for path in parsed.path]
    if parsed.action == 'list':
        say(
            'result',
            paths=listed(layout.detect(parsed.set), paths),
            unfit={
                path: why for path in paths for why in [unfit(path)] if why
            },
        )
        return 0
    if not _TOKEN.match(parsed.token or ''):
        raise Refused('shared {} needs --token'.format(parsed.action))
    if parsed.action == 'look':
        found = look(paths, parsed.token, parsed.number)
    else:
        act = mark if parsed.action == 'mark' else clear
        found = {
            path: act(_file(path, parsed.token, parsed.number + place))
            for place, path in enumerate(paths)
        }
    say('result', paths=found)
    return 0


def listed(
    found: Dict[str, Any], more: Sequence[str] = ()
) -> List[Dict[str, Any]]:
    """Where servers' disks lie, and all that is remote; nothing is touched.

    :param found: as :func:`layout.detect`
    :returns: rows of ``path``, ``type``, ``source``, ``remote`` (by its
        type) and ``disks`` (nova keeps servers there, or it was named)
    """
    table = mounts.Table(mounts.read())
    state = os.fsencode(found['state'])
    named = [os.fsencode(path) for path in (found['instances'], *more)]
    rows = {}
    for path in named:
        mount = table.mount_of(path)
        if mount is not None and not mount.shared:
            path = os.path.realpath(path)
            mount = table.mount_of(path)
        if mount is not None:
            rows[path] = _row(path, mount, True)
    for mount in table.below(b'/'):
        inside = mounts.under(mount.target, state)
        if mount.type in mounts.PSEUDO or mount.target in rows:
            continue
        if inside or mount.shared:
            rows[mount.target] = _row(mount.target, mount, inside)
    return [row for _path, row in sorted(rows.items())]


def unfit(path: str) -> str:
    """Why ``owners`` would not begin its walk there, '' if it would.

    What is remote is not looked at.
    """
    place = os.fsencode(path)
    mount = mounts.Table(mounts.read()).mount_of(place)
    if mount is None or mount.shared:
        return ''
    if mount.type in mounts.PSEUDO:
        return 'it is on a {}'.format(mount.type)
    real = os.path.realpath(place)
    if real != place:
        return 'it leads over a link to {}'.format(os.fsdecode(real))
    return '' if os.path.isdir(place) else 'there is no such directory'


def _row(path: bytes, mount: mounts.Mount, disks: bool) -> Dict[str, Any]:
    return {
        'path': os.fsdecode(path),
        'type': mount.type,
        'source': mount.source.decode('utf-8', 'replace'),
        'remote': mount.shared,
        'disks': disks,
    }


def mark(path: str) -> Dict[str, Any]:
    """Leave a file there.

    :returns: ``made``; ``uid``: root's, unless the server distrusts root; and
        ``denied``: why root may not, which a server that makes nobody of it
        says where nobody may write, as in nova's directories; else ''
    :raises AgentError: it can't be made
    """
    if not os.path.isdir(os.path.dirname(path)):
        return {'made': False, 'uid': None, 'denied': ''}
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in _DENIED:
            return {'made': False, 'uid': None, 'denied': error.strerror}
        raise AgentError('{}: {}'.format(path, error.strerror)) from None
    try:
        uid = os.fstat(descriptor).st_uid
        return {'made': True, 'uid': uid, 'denied': ''}
    finally:
        os.close(descriptor)


def clear(path: str) -> Dict[str, Any]:
    """Take it away, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return {'cleared': False}
    return {'cleared': True}


def look(
    paths: Sequence[str], token: str, count: int
) -> Dict[str, Dict[str, Any]]:
    """Which of the files are seen where.

    :returns: path -> number of the file, as text -> ``{uid}``
    """
    found = {}  # type: Dict[str, Dict[str, Any]]
    for path in paths:
        found[path] = {}
        for number in range(count):
            try:
                status = os.lstat(_file(path, token, number))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise AgentError(
                    '{}: {}'.format(path, error.strerror)
                ) from None
            found[path][str(number)] = {'uid': status.st_uid}
    return found


def _file(path: str, token: str, number: int) -> str:
    return os.path.join(path, '.nova-recovery-{}-{}'.format(token, number))
