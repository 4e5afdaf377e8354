# SPDX-License-Identifier: Apache-2.0

"""Ceph as this host sees it, with the user that nova has here."""

import json
import time
from typing import Any, Dict, Iterable, List, Optional, Sequence

from nova_recovery.host.agent import nova_conf, programs
from nova_recovery.host.agent.lines import AgentError

_CONF = '/etc/ceph/ceph.conf'
#: Seconds for a cluster that doesn't answer, for one call, for all images.
_CONNECT, _CALL, _IMAGES = '8', 12, 60


def look(found: Dict[str, Any], domains: Any) -> Optional[Dict[str, Any]]:
    """What the cluster says, and who has the images of guests of this host.

    :param found: as :func:`layout.detect`
    :param domains: as :func:`virsh.domains`; None where they are not known
    :returns: ``health`` and ``checks`` (code -> summary), ``user``, ``caps``
        (None where it may not ask), ``blocked`` (addresses of clients that
        are shut out), ``addresses`` (of this host), ``images``: rows of
        ``image``, ``server``, ``active``, ``watchers`` and ``lockers``
        (addresses), ``why`` they are not known; and ``why`` the cluster
        does not tell. None where nothing here is in Ceph
    """
    user, _path = _option(found, 'rbd_user')
    images = [
        (name[4:], domain)
        for domain in domains or ()
        for name in sorted(domain['network'])
        if name.startswith('rbd:')
    ]
    if not images and not user:
        return None
    client = _client(found)
    ceph = ['ceph'] + client + ['--connect-timeout', _CONNECT, '-f', 'json']
    said = {'user': user or 'admin', 'why': '', 'images': []}  # type: Any
    try:
        health = _ask(ceph + ['health'])
        said['health'] = health['status']
        said['checks'] = {
            code: one['summary']['message']
            for code, one in health.get('checks', {}).items()
        }
        said['blocked'] = _blocked(ceph)
        said['addresses'] = addresses()
    except programs.Missing as error:
        # what libvirt reaches by itself needs no program
        return dict(said, why=str(error), missing=True)
    except (AgentError, LookupError, ValueError) as error:
        return dict(said, why=str(error), missing=False)
    try:
        (known,) = _ask(ceph + ['auth', 'get', 'client.' + said['user']])
        said['caps'] = known['caps']
    except (AgentError, LookupError, ValueError):
        said['caps'] = None
    until = time.monotonic() + _IMAGES
    said['images'] = [
        dict(
            _image(['rbd'] + client, image, until),
            image=image,
            server=domain['uuid'],
            active=domain['active'],
        )
        for image, domain in images
    ]
    return dict(said, missing=False)


def disks(found: Dict[str, Any], servers: Sequence[str]) -> Dict[str, Any]:
    """Whether the cluster has disks of servers, if nova keeps them there.

    :param found: as :func:`layout.detect`
    :returns: ``type`` (images_type of nova.conf; None: it says nothing),
        ``pool``, ``images`` (server -> what of it is there, such as
        ``disk.config``), and ``why`` this is not known, '' if it is
    """
    row = {'type': None, 'pool': '', 'images': {}, 'why': ''}  # type: Any
    try:
        row['type'], _path = _option(found, 'images_type')
        if row['type'] != 'rbd':
            return row  # type: ignore
        # as nova has it (nova/conf/libvirt.py)
        row['pool'] = _option(found, 'images_rbd_pool')[0] or 'rbd'
        rbd = ['rbd'] + _client(found)
        if not programs.find('rbd'):
            # the container with virsh has it, for libvirt
            rbd = list(found['exec_prefix']) + rbd
        known = _ask(rbd + ['ls', row['pool'], '--format', 'json'])
    except (AgentError, OSError, ValueError) as error:
        return dict(row, why=str(error))
    for image in known:
        # SERVER_disk, SERVER_disk.swap (nova/virt/libvirt/imagebackend.py)
        server, _line, name = str(image).partition('_')
        if server in servers:
            row['images'].setdefault(server, []).append(name)
    return row  # type: ignore


def _client(found: Dict[str, Any]) -> List[str]:
    """Options of Ceph's programs, as nova uses it here."""
    path, _where = _option(found, 'images_rbd_ceph_conf')
    user, _where = _option(found, 'rbd_user')
    return ['--id', user or 'admin', '--conf', path or _CONF]


def _option(found: Dict[str, Any], name: str) -> Any:
    return nova_conf.value(found['nova_conf'], name, 'libvirt')


def _ask(words: List[str]) -> Any:
    code, text, complained = programs.run(words, _CALL)
    if code:
        raise AgentError('{}: {}'.format(words[0], complained[-300:]))
    # Pacific says "listed 0 entries" behind it
    return json.JSONDecoder().raw_decode(text.strip())[0]


def _blocked(ceph: List[str]) -> List[str]:
    try:
        rows = _ask(ceph + ['osd', 'blocklist', 'ls'])
    except programs.TookTooLong:
        raise
    except AgentError:
        # as it was called before Pacific
        rows = _ask(ceph + ['osd', 'blacklist', 'ls'])
    return [str(row['addr']) for row in rows]


def _image(rbd: List[str], image: str, until: float) -> Dict[str, Any]:
    row = {'watchers': [], 'lockers': [], 'why': ''}  # type: Dict[str, Any]
    if time.monotonic() > until:
        return dict(row, why='the others took too long')
    try:
        status = _ask(rbd + ['status', image, '--format', 'json'])
        locks = _ask(rbd + ['lock', 'ls', image, '--format', 'json'])
    except (AgentError, ValueError) as error:
        return dict(row, why=str(error))
    return dict(
        row,
        watchers=sorted(_addresses(status['watchers'])),
        lockers=sorted(_addresses(locks)),
    )


def _addresses(rows: Any) -> Iterable[str]:
    """Old versions have objects where new ones have arrays."""
    some = rows.values() if isinstance(rows, dict) else rows
    return {str(one['address']) for one in some}


def addresses() -> List[str]:
    """Those of this host."""
    code, text, _complained = programs.run(['ip', '-o', 'address'])
    words = [line.split() for line in text.splitlines() if not code]
    return sorted(
        line[3].partition('/')[0] for line in words if 'inet' in line[2]
    )
