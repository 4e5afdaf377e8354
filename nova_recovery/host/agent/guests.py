# SPDX-License-Identifier: Apache-2.0

"""The verb ``guests``: what runs here, by libvirt and by its processes.

One is ended by its UUID, as ``virsh destroy`` does it: at once, as by a power
cut. It stays defined. What is shown and set of one: see :mod:`guest_set`.
"""

import argparse
import glob
import os
import re
import time
from typing import Any, Callable, Dict, List

from nova_recovery.host.agent import files, guest_set, layout, uses, virsh
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'guests of this host: list; show, set or stop one'

#: Seconds until its process is gone: what is in flight to a disk has to end.
_PATIENCE = 60
_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=['list', 'show', 'set', 'stop'])
    parser.add_argument(
        '--server', metavar='UUID', help='which; for show also its domain'
    )
    parser.add_argument('--listen', help='for show: an address, or "host"')
    parser.add_argument('--whole', action='store_true', help='with all XML')
    parser.add_argument('--edit', action='append', default=[])


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    if parsed.action == 'list':
        say('result', **look(found))
        return 0
    if parsed.action == 'show':
        say(
            'result',
            **guest_set.show(
                found, parsed.server, parsed.listen, parsed.whole
            ),
        )
        return 0
    if not _UUID.match(parsed.server or ''):
        raise Refused('{} needs --server UUID'.format(parsed.action))
    if os.geteuid():
        raise Refused('only root can change guests')
    if parsed.action == 'set':
        edits = guest_set.edits(parsed.edit)
        with files.locked(os.path.join(parsed.home, 'guests.lock')):
            say('result', **guest_set.change(found, parsed.server, edits))
        return 0
    say('result', **stop(found, parsed.server))
    return 0


def look(found: Dict[str, Any]) -> Dict[str, Any]:
    """What runs, or is only defined.

    :returns: ``domains``, see :func:`virsh.domains`, None with ``why`` where
        libvirt doesn't tell; ``processes``: rows of ``uuid`` and ``pid`` of
        all guests, also those that libvirt does not know of
    """
    said = {'processes': processes(), 'domains': None, 'why': ''}
    try:
        said['domains'] = virsh.domains(found)
    except AgentError as error:
        said['why'] = str(error)
    return said


def processes() -> List[Dict[str, Any]]:
    """The guests that have a process on this host, in whatever container."""
    rows = []
    for place in sorted(glob.glob('/proc/[0-9]*')):
        name, uuid = uses.who(place)
        if uuid is not None and name.startswith('qemu'):
            rows.append({'uuid': uuid, 'pid': int(os.path.basename(place))})
    return rows


def stop(found: Dict[str, Any], uuid: str) -> Dict[str, bool]:
    """End a guest at once.

    :returns: ``stopped``: False where it did not run
    :raises Refused: libvirt does not have it running, and it has a process
    :raises AgentError: it runs still
    """
    domains = {row['uuid']: row for row in virsh.domains(found)}
    if not domains.get(uuid, {'active': False})['active']:
        if _runs(uuid):
            raise Refused(
                '{}: libvirt does not have it running, and its process is '
                'there: restart libvirt, which finds it again'.format(uuid)
            )
        return {'stopped': False}
    virsh.order(found, 'destroy', uuid)
    deadline = time.monotonic() + _PATIENCE
    while _runs(uuid):
        if time.monotonic() > deadline:
            raise AgentError('{}: its process is there still'.format(uuid))
        time.sleep(0.1)
    return {'stopped': True}


def _runs(uuid: str) -> bool:
    return any(row['uuid'] == uuid for row in processes())
