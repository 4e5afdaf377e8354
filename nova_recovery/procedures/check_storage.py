# SPDX-License-Identifier: Apache-2.0

"""``host check``, of storage: groups of LVM, images in files, Ceph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached

#: Of a file system, its inodes, a pool or a group: how much is in use.
FULL, NEARLY = 0.97, 0.90
#: Of ``profile rbd`` that is: without one a guest whose lock is a dead
#: client's does not start (docs.ceph.com, rbd/rbd-openstack).
_SHUTS_OUT = ('profile rbd', 'allow *', 'blocklist', 'blacklist')


def lvm(host: Reached, said: Mapping[str, Any]) -> Iterator[Finding]:
    """Volume groups, as cinder-volume has its volumes in them."""
    if said['groups'] is None:
        yield reached.finding(
            host,
            'LVM-UNKNOWN',
            findings.UNKNOWN,
            f'lvm does not tell of its groups: {said["why"]}',
            'lvm',
            'a disk that hangs holds it up: look at the paths first',
        )
        return
    there = {row['name'] for row in said['groups']}
    for name in said['wanted']:
        if name not in there:
            yield reached.finding(
                host,
                'VG-MISSING',
                findings.DANGER,
                'cinder.conf has a back end in it, and it is not there: no '
                'volume of it can be exported',
                name,
                'bring its disk back; then pvscan, and restart cinder-volume',
            )
    pools = {row['group'] for row in said['volumes'] if row['pool']}
    for row in said['groups']:
        if row['missing']:
            yield reached.finding(
                host,
                'VG-PARTIAL',
                findings.DANGER,
                f'{row["missing"]} of its disks are missing',
                row['name'],
                'bring them back before anything is repaired (pvs, vgs -P)',
            )
        used = 1 - row['free'] / row['bytes'] if row['bytes'] else 0.0
        if row['name'] in {*said['wanted']} - pools and used >= NEARLY:
            yield reached.finding(
                host,
                'VG-FULL',
                findings.STALE,
                f'{used:.0%} of it are allocated: the next volume or backup '
                'fails',
                row['name'],
                'vgextend, or delete volumes by cinder',
            )
    for row in said['volumes']:
        yield from _logical(host, row, said['wanted'])


def _logical(
    host: Reached, row: Mapping[str, Any], wanted: Collection[str]
) -> Iterator[Finding]:
    label = f'{row["group"]}/{row["name"]}'
    if row['health']:
        yield reached.finding(
            host,
            'LV-FAILED',
            findings.DANGER,
            f'lvm says: {row["health"]}',
            label,
            'stop who writes to it; lvmthin(7), lvmraid(7)',
        )
    for what in ('data', 'metadata'):
        used = (row[what] or 0.0) / 100
        if row['pool'] and used >= NEARLY:
            yield reached.finding(
                host,
                'POOL-FULL',
                findings.DANGER if used >= FULL else findings.STALE,
                f'{used:.0%} of its {what} are in use: when it is full all '
                'volumes in it fail at once',
                label,
                'lvextend'
                + (' --poolmetadatasize' if what == 'metadata' else '')
                + f' {label}',
            )
    # snapshots of thin volumes are off by themselves
    volume = row['name'].startswith('volume-') and row['group'] in wanted
    if volume and not row['active']:
        yield reached.finding(
            host,
            'LV-INACTIVE',
            findings.STALE,
            'it is a volume of cinder, and is not active: nothing exports it',
            label,
            'restart cinder-volume, which activates what it exports',
        )


def image(host: Reached, row: Mapping[str, Any]) -> Finding:
    """What qemu-img says of one disk."""
    state, why = row['state'], row['why']
    code, severity, seen, fix = {
        'good': ('IMAGE-GOOD', findings.GOOD, 'it is whole', ''),
        'unchecked': (
            'IMAGE-RAW',
            findings.NOTE,
            'a raw disk has nothing that could be checked',
            '',
        ),
        'leaks': (
            'IMAGE-LEAKS',
            findings.NOTE,
            f'{why}: space that is lost, and no data',
            '',
        ),
        'corrupt': (
            'IMAGE-CORRUPT',
            findings.DANGER,
            why,
            'copy it, then qemu-img check -r all on the copy',
        ),
    }.get(
        state,
        (
            'IMAGE-UNKNOWN',
            findings.UNKNOWN,
            why or 'qemu-img does not tell',
            '--running checks it all the same' if row['open'] else '',
        ),
    )
    if row['open'] and state in ('leaks', 'corrupt'):
        severity = findings.UNKNOWN
        seen += '; a process has it open and changes it meanwhile'
        fix = 'look again when its guest is off'
    return reached.finding(host, code, severity, seen, row['path'], fix)


def ceph(host: Reached, said: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The cluster as the host sees it, and the images of its guests."""
    if said is None:
        return
    if said['why']:
        yield reached.finding(
            host,
            'CEPH-UNKNOWN' if said['missing'] else 'CEPH-SILENT',
            findings.NOTE if said['missing'] else findings.DANGER,
            said['why'],
            'ceph',
            'install ceph-common to have it looked at'
            if said['missing']
            else 'its monitors, the key of the user: ceph health detail',
        )
        return
    if said['health'] != 'HEALTH_OK':
        checks = '; '.join(f'{c}: {m}' for c, m in said['checks'].items())
        yield reached.finding(
            host,
            'CEPH-HEALTH',
            findings.DANGER
            if said['health'] == 'HEALTH_ERR'
            else findings.STALE,
            f'{said["health"]}: {checks}',
            'ceph',
            'ceph health detail',
        )
    yield from _clients(host, said)
    for row in said['images']:
        yield from _rbd(host, row, said['addresses'])


def _clients(host: Reached, said: Mapping[str, Any]) -> Iterator[Finding]:
    user = f'client.{said["user"]}'
    if said['caps'] is not None:
        mon = said['caps'].get('mon', '')
        if not any(word in mon for word in _SHUTS_OUT):
            yield reached.finding(
                host,
                'CEPH-CAPS',
                findings.DANGER,
                f'{user} may not shut out a dead client (mon: {mon}): after '
                'a power loss guests do not start, since the lock of before '
                'stays on their disks',
                user,
                f"ceph auth caps {user} mon 'profile rbd' and the others",
            )
    # NONCE 0 is the whole machine; another one is one process that is gone
    shut = sorted(
        address
        for address in said['addresses']
        if any(
            blocked in (f'{address}:0/0', f'[{address}]:0/0')
            for blocked in said['blocked']
        )
    )
    if shut:
        yield reached.finding(
            host,
            'CEPH-BLOCKED',
            findings.DANGER,
            f'the cluster shuts out {", ".join(shut)}: no guest here can '
            'write',
            'ceph',
            f'once it is proven to be whole: ceph osd blocklist rm {shut[0]}'
            ':0/0',
        )


def _rbd(
    host: Reached, row: Mapping[str, Any], own: Collection[str]
) -> Iterator[Finding]:
    label = f'rbd:{row["image"]}'
    if row['why']:
        yield reached.finding(
            host, 'RBD-UNKNOWN', findings.UNKNOWN, row['why'], label
        )
        return
    others = [who for who in row['watchers'] if _host(who) not in own]
    if others:
        yield reached.finding(
            host,
            'RBD-ELSEWHERE',
            findings.DANGER if row['active'] else findings.NOTE,
            f'{", ".join(others)} has it open'
            + (', and its guest runs here' if row['active'] else ''),
            label,
            'which of the two is it? guest check'
            if row['active']
            else 'its guest may run there: do not start it here',
        )
    elif row['lockers'] and not row['watchers']:
        yield reached.finding(
            host,
            'RBD-LOCKED',
            findings.STALE,
            f'the lock of {", ".join(row["lockers"])} is left, and nobody has '
            'it open: a power loss leaves that',
            label,
            'its next start breaks it, where the caps of the user are right',
        )


def _host(address: str) -> str:
    """``10.0.0.1:0/123`` or ``[fd00::1]:0/123`` without what is behind."""
    return address.rpartition(':')[0].strip('[]')
