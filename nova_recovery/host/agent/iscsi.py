# SPDX-License-Identifier: Apache-2.0

"""The verb ``iscsi``: sessions, what stands on their disks, one more or less.

Sessions are read from sysfs: there are no passwords in it, and nothing to be
parsed. ``iscsiadm`` itself ends well when it closes a session under a mounted
disk; here that is refused, and the number must still mean the same target.
"""

import argparse
import contextlib
import glob
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from nova_recovery.host.agent import files, layout, programs, uses, virsh
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'iSCSI sessions: list, discover, create, delete one by its number'

#: iscsiadm(8): there is a session already; no records, targets or portals
_EXISTS, _NONE = 15, 21
#: Seconds for a login or a logout; iscsid gives up a login after some 120.
_PATIENCE = 150
#: Seconds until the kernel has taken the disks away.
_GONE = 20
#: As multipath and /dev/disk/by-id begin the names (WWN_TYPES in
#: os_brick/initiator/linuxscsi.py).
_TYPES = {'t10.': '1', 'eui.': '2', 'naa.': '3', 'scsi': '8'}
_IQN = re.compile(r'(iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,223}$')
_PORTAL = re.compile(r'([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        'action', choices=['list', 'discover', 'create', 'delete']
    )
    parser.add_argument(
        '--session', type=int, metavar='N', help='for delete: its number'
    )
    parser.add_argument(
        '--target', metavar='IQN', help='for create and delete: what is meant'
    )
    parser.add_argument(
        '--portal',
        metavar='ADDRESS:PORT',
        help='the same; for discover: who is asked',
    )
    parser.add_argument(
        '--forget',
        action='store_true',
        help="for delete: the node's record, too",
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    _check(parsed)
    if parsed.action == 'list':
        say('result', **look(found, parsed.target, parsed.portal))
    elif parsed.action == 'discover':
        say('result', targets=discover(found, parsed.portal))
    else:
        if os.geteuid():
            raise Refused('only root can open and close sessions')
        with files.locked(os.path.join(parsed.home, 'iscsi.lock'), 30):
            if parsed.action == 'create':
                made = create(found, parsed.target, parsed.portal)
            else:
                made = delete(
                    found,
                    parsed.session,
                    parsed.target,
                    parsed.portal,
                    parsed.forget,
                )
            say('result', **made)
    return 0


def _check(parsed: argparse.Namespace) -> None:
    needs = {
        'discover': ('portal',),
        'create': ('target', 'portal'),
        'delete': ('session', 'target', 'portal'),
    }
    for name in needs.get(parsed.action, ()):
        if getattr(parsed, name) is None:
            raise Refused('iscsi {} needs --{}'.format(parsed.action, name))
    for name, pattern in (('target', _IQN), ('portal', _PORTAL)):
        given = getattr(parsed, name)
        if given is not None and not pattern.match(given):
            raise Refused('--{} {}: no such name'.format(name, given))


def look(
    found: Dict[str, Any],
    target: Optional[str] = None,
    portal: Optional[str] = None,
) -> Dict[str, Any]:
    """What there is.

    :returns: ``sessions``, see :func:`sessions`, each disk with its ``uses``;
        ``domains``, see :func:`virsh.domains`, None with ``why`` where
        libvirt doesn't tell; ``record``: whether iscsid knows the target
    """
    there = sessions()
    held = uses.of([d['device'] for s in there for d in s['disks']])
    for session in there:
        for disk in session['disks']:
            disk['uses'] = held[disk['device']]
    said: Dict[str, Any] = {'sessions': there, 'domains': None, 'why': ''}
    said['record'] = None
    try:
        said['domains'] = virsh.domains(found)
    except AgentError as error:
        said['why'] = str(error)
    if target and portal:
        said['record'] = _recorded(found, target, portal)
    return said


def sessions(top: str = '') -> List[Dict[str, Any]]:
    """The sessions of this host, by number.

    :param top: before /sys
    :returns: rows of ``session``, ``target``, ``portal`` (to which it was
        asked to log in), ``state`` and ``disks``: ``lun``, ``device``,
        ``wwid``, ``state``, ``bytes``, ``maps`` (of device mapper) and
        ``names`` (the kernel's, also of what is made of the disk)
    """
    rows = []
    for place in glob.glob(top + '/sys/class/iscsi_session/session*'):
        number = int(place.rpartition('session')[2])
        rows.append(
            {
                'session': number,
                'target': uses.value(place + '/targetname') or '',
                'portal': _portal(top, number),
                'state': uses.value(place + '/state') or 'unknown',
                'disks': list(_disks(top, place)),
            }
        )
    return sorted(rows, key=lambda row: row['session'])


def _portal(top: str, number: int) -> str:
    pattern = '{}/sys/class/iscsi_connection/connection{}:*'
    for place in sorted(glob.glob(pattern.format(top, number))):
        for kind in ('persistent_', ''):
            address = uses.value('{}/{}address'.format(place, kind))
            port = uses.value('{}/{}port'.format(place, kind))
            # an older kernel says "<NULL>"
            if address and port and 'null' not in address.lower():
                return _joined(address, port)
    return ''


def _joined(address: str, port: str) -> str:
    """As iscsiadm takes it."""
    bare = ':' in address and not address.startswith('[')
    return '{}:{}'.format('[{}]'.format(address) if bare else address, port)


def _disks(top: str, place: str) -> Iterator[Dict[str, Any]]:
    for lun in sorted(glob.glob(place + '/device/target*/*:*:*:*')):
        for block in sorted(glob.glob(lun + '/block/*')):
            yield disk(top, lun, os.path.basename(block))


def disk(top: str, lun: str, name: str) -> Dict[str, Any]:
    """A row of ``disks``, see :func:`sessions`.

    :param lun: where sysfs has its state and its wwid
    """
    wwid = uses.value(lun + '/wwid') or ''
    number = lun.rpartition(':')[2]
    family = uses.family(name, top)
    if wwid and not name.startswith('nvme'):
        wwid = _TYPES.get(wwid[:4], '8') + wwid[4:]
    return {
        'lun': int(number) if number.isdigit() else None,
        'device': name,
        'state': uses.value(lun + '/state') or 'unknown',
        'wwid': wwid,
        'bytes': int(uses.word(top, name, 'size') or '0') * 512,
        'maps': [uses.mapped(one, top) or one for one, made in family if made],
        'names': [one for one, _made in family],
    }


def discover(found: Dict[str, Any], portal: str) -> List[Dict[str, str]]:
    """The targets that a portal offers to this host; nothing is kept.

    :returns: rows of ``target`` and ``portal``
    :raises AgentError: it can't be asked
    """
    words = ['-m', 'discovery', '-t', 'st', '-p', portal]
    code, printed, complained = _iscsiadm(
        found, *(words + ['-o', 'nonpersistent'])
    )
    if code == _NONE:
        return []
    if code:
        raise AgentError('{}: {}'.format(portal, complained))
    rows = []
    for line in printed.splitlines():
        # 10.0.0.1:3260,1 iqn.2010-10.org.openstack:volume-…
        where, _blank, target = line.partition(' ')
        if _IQN.match(target.strip()):
            rows.append(
                {'target': target.strip(), 'portal': where.partition(',')[0]}
            )
    return rows


def create(found: Dict[str, Any], target: str, portal: str) -> Dict[str, Any]:
    """Log in, unless that is so already.

    :returns: ``session`` (its number) and ``made``
    :raises Refused: the login was refused; nothing was changed
    """
    there = _numbers(target, portal)
    if there:
        return {'session': there[0], 'made': False}
    node = ['-m', 'node', '-T', target, '-p', portal]
    known = _recorded(found, target, portal)
    if not known:
        _need(found, *(node + ['-o', 'new']))
    code, _printed, complained = _iscsiadm(found, *(node + ['--login']))
    there = _numbers(target, portal)
    if not there:
        if not known:
            _iscsiadm(found, *(node + ['-o', 'delete']))
        raise Refused(
            '{} at {}: no session came of it: {}'.format(
                target, portal, complained or 'iscsiadm ended with %d' % code
            )
        )
    return {'session': there[0], 'made': code != _EXISTS}


def delete(
    found: Dict[str, Any],
    number: int,
    target: str,
    portal: str,
    forget: bool = False,
) -> Dict[str, Any]:
    """Log out, if the number still means that and nobody uses its disks.

    :returns: ``deleted``: False where there is no such session
    :raises Refused: nothing was done
    :raises AgentError: it is there still
    """
    one = next((s for s in sessions() if s['session'] == number), None)
    if one is None:
        return {'deleted': False}
    if (one['target'], one['portal']) != (target, portal):
        raise Refused(
            'session {} is {} at {}, not {} at {}'.format(
                number, one['target'], one['portal'], target, portal
            )
        )
    with contextlib.ExitStack() as held:
        if one['state'] == 'LOGGED_IN':
            # nobody can mount or map it from now on
            for disk in one['disks']:
                held.enter_context(_alone(disk['device']))
        used = uses.of([disk['device'] for disk in one['disks']])
        for disk, who in sorted(used.items()):
            if who:
                raise Refused(uses.told(disk, who))
        _need(found, '-m', 'session', '-r', str(number), '-u')
    _await_gone(number, target)
    if forget:
        node = ['-m', 'node', '-T', target, '-p', portal]
        _iscsiadm(found, *(node + ['-o', 'delete']))
    return {'deleted': True}


@contextlib.contextmanager
def _alone(disk: str) -> Iterator[None]:
    """Hold a disk such that nobody else can claim it, as a mount does.

    :raises Refused: somebody has it
    """
    path = '/dev/' + disk
    flags = os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        who = uses.of([disk])[disk]
        raise Refused(
            uses.told(disk, who)
            if who
            else '{}: {}'.format(path, error.strerror)
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _await_gone(number: int, target: str) -> None:
    deadline = time.monotonic() + _GONE
    while any(
        s['session'] == number and s['target'] == target for s in sessions()
    ):
        if time.monotonic() > deadline:
            raise AgentError('session {} is there still'.format(number))
        time.sleep(0.1)


def _numbers(target: str, portal: str) -> List[int]:
    return [
        s['session']
        for s in sessions()
        if (s['target'], s['portal']) == (target, portal)
    ]


def _recorded(found: Dict[str, Any], target: str, portal: str) -> bool:
    """Whether iscsid knows how to log in there; it holds passwords.

    :raises AgentError: that can't be known; a new record would take the
        place of one that is there, and of its passwords
    """
    words = ['-m', 'node', '-T', target, '-p', portal]
    try:
        code, _printed, complained = _iscsiadm(found, *words)
    except programs.Missing:
        return False
    if code not in (0, _NONE):
        raise AgentError(
            'iscsiadm {}: {}'.format(
                ' '.join(words), complained or 'ended with %d' % code
            )
        )
    return code == 0


def _need(found: Dict[str, Any], *words: str) -> None:
    code, _printed, complained = _iscsiadm(found, *words)
    if code:
        raise AgentError('iscsiadm {}: {}'.format(' '.join(words), complained))


def _iscsiadm(found: Dict[str, Any], *words: str) -> Any:
    prefix = []  # type: List[str]
    if programs.find('iscsiadm') is None and found['engine']:
        # kolla, TripleO and EDPM call the container so
        prefix = [found['engine'], 'exec', 'iscsid']
    return programs.run(prefix + ['iscsiadm'] + list(words), _PATIENCE)
