# SPDX-License-Identifier: Apache-2.0

"""The verb ``paths``: disks that come over a network, and by which ways."""

import argparse
import glob
import os
import re
from typing import Any, Callable, Dict, Iterator, List

from nova_recovery.host.agent import check, iscsi, layout, uses, virsh
from nova_recovery.host.agent.lines import AgentError

HELP = 'disks over iSCSI, Fibre Channel, NVMe-oF and RBD, and their paths'

_RPORT = re.compile(r'/(rport-[0-9:-]+)/target')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    rows = disks()
    held = uses.of([row['device'] for row in rows])
    for row in rows:
        row['uses'] = held[row['device']]
    said = {'domains': None, 'why': ''}  # type: Dict[str, Any]
    try:
        said['domains'] = virsh.domains(found)
    except AgentError as error:
        said['why'] = str(error)
    say('result', disks=rows, maps=check.maps(), **said)
    return 0


def disks(top: str = '') -> List[Dict[str, Any]]:
    """Each disk that is not the host's own.

    :param top: before /sys
    :returns: as :func:`iscsi.sessions` has disks, with ``way`` (iscsi, fc,
        nvmeof or rbd), ``target`` and ``portal`` ('' where there is none),
        and ``links``: rows of [what it comes over, its state]
    """
    rows = []
    for session in iscsi.sessions(top):
        link = ['session {}'.format(session['session']), session['state']]
        for disk in session['disks']:
            rows.append(
                dict(
                    disk,
                    way='iscsi',
                    target=session['target'],
                    portal=session['portal'],
                    links=[link],
                )
            )
    for look in (_fc, _nvme, _rbd):
        rows += sorted(look(top), key=lambda row: str(row['device']))
    return rows


def _fc(top: str) -> Iterator[Dict[str, Any]]:
    for place in glob.glob(top + '/sys/class/block/sd*'):
        match = _RPORT.search(os.path.realpath(place))
        if match is None or os.path.exists(place + '/partition'):
            continue
        port = '{}/sys/class/fc_remote_ports/{}/'.format(top, match.group(1))
        lun = os.path.realpath(place + '/device')
        yield dict(
            iscsi.disk(top, lun, os.path.basename(place)),
            way='fc',
            target=uses.value(port + 'port_name') or '',
            portal='',
            links=[
                [match.group(1), uses.value(port + 'port_state') or 'unknown']
            ],
        )


def _nvme(top: str) -> Iterator[Dict[str, Any]]:
    for place in glob.glob(top + '/sys/class/block/nvme*n*'):
        name = os.path.basename(place)
        # with several ways the kernel's own map is below the subsystem
        above = os.path.dirname(os.path.realpath(place))
        ways = [
            way
            for way in [above] + sorted(glob.glob(above + '/nvme*'))
            if uses.value(way + '/transport') not in (None, 'pcie')
        ]
        if not ways or os.path.exists(place + '/partition'):
            continue
        if re.match(r'nvme\d+c', name):
            # one way of a disk that is there by its own name
            continue
        links = [
            [_controller(way), uses.value(way + '/state') or 'unknown']
            for way in ways
        ]
        nqn = uses.value(ways[0] + '/subsysnqn') or ''
        yield _row(top, name, 'nvmeof', nqn, links)


def _controller(way: str) -> str:
    """``nvme0 10.0.0.1:4420``, without where the host itself is."""
    pairs = [
        pair.partition('=')
        for pair in (uses.value(way + '/address') or '').split(',')
    ]
    place = ':'.join(
        value for key, _equals, value in pairs if key in ('traddr', 'trsvcid')
    )
    return '{} {}'.format(os.path.basename(way), place).strip()


def _rbd(top: str) -> Iterator[Dict[str, Any]]:
    for place in glob.glob(top + '/sys/bus/rbd/devices/*'):
        words = [uses.value(place + '/' + one) for one in ('pool', 'name')]
        image = '/'.join(word or '?' for word in words)
        yield _row(top, 'rbd' + os.path.basename(place), 'rbd', image, [])


def _row(
    top: str, name: str, way: str, target: str, links: List[List[str]]
) -> Dict[str, Any]:
    """Of what is no disk of SCSI."""
    return dict(
        iscsi.disk(top, '{}/sys/class/block/{}'.format(top, name), name),
        lun=None,
        state='running',
        way=way,
        target=target,
        portal='',
        links=links,
    )
