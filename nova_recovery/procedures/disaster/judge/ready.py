# SPDX-License-Identifier: Apache-2.0

"""What hosts tell of themselves as rows of ``disaster assess --ready``.

Of what is on a host only that counts which keeps guests from being started,
or makes it dangerous.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

from nova_recovery import readiness
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.procedures import reached
from nova_recovery.procedures.disaster.look import fleet, layout
from nova_recovery.readiness.hosts import LAYER

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.procedures.disaster.look.fleet import Told
    from nova_recovery.procedures.disaster.scope import Scope

#: How a code begins -> the row that it is a matter of; else its host's.
_LAYERS = {
    **dict.fromkeys(('CEPH', 'LV', 'LVM', 'POOL', 'RBD', 'VG'), 'volume'),
    'CLOCK': 'clocks',
    **dict.fromkeys(('GUEST', 'LIBVIRT'), 'compute'),
}
_EXPECTED = {
    'volume': 'its groups, pools and images are whole',
    'clocks': 'within 1 s of this host',
    'compute': 'guests run where nova has them, and nowhere else',
    LAYER: 'it answers, and has its disks and file systems',
}
#: Stale, and in the way all the same: a start forgets the owner, or fails.
_STALE = frozenset(
    {'CLOCK-APART', 'LV-INACTIVE', 'OWNER-LEFT', 'PATH-FAILED', 'UID-DIFFERS'}
)
#: Danger at the next boot, or mended by the start itself.
_LATER = frozenset({'FSTAB-WRONG', 'ISCSI-LOST', 'PATH-LOST'})
#: What a volume service that is down explains.
_BEHIND = {
    'ISCSI-DEAD': ('volume/*',),
    'PATH-DEAD': ('volume/*',),
    'PATH-FAILED': ('volume/*',),
}


def rows(
    cloud: Cloud,
    hosts: Collection[str] | None,
    scope: Scope,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Finding, ...]:
    """Ask hosts, and judge; see :func:`judge`.

    :param hosts: the compute hosts that matter; None: all
    :raises ConfigError: the fleet can't be reached at all
    """
    silent: tuple[str, ...] = ()
    left_out: dict[str, tuple[str, str]] = {}
    if hosts is None:
        try:
            hosts, silent = reached.hosts_of(cloud)
            # of those that are named, one may be of a cell that is disabled
            left_out = reached.disabled(cloud)
        except DatabaseUnavailable as error:
            hosts, silent = (), (f'{error}: no host was asked',)
    told = fleet.read(
        cloud,
        sorted(hosts),
        fleet.storage_hosts(layout.of_cinder(cloud), scope.skip_backends),
        progress,
    )
    return tuple(judge(told, (*silent, *told.unknown), left_out))


def judge(
    told: Told,
    silent: Iterable[str] = (),
    left_out: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Iterator[Finding]:
    """A row for each thing that is in the way, and one for the hosts.

    :param silent: why some could not even be named, lines
    :param left_out: such a line -> a cell that somebody has disabled, and
        what enables it: its hosts are left out, which is in nobody's way
    """
    for name, command in left_out.values():
        yield Finding(
            LAYER,
            readiness.GO,
            name,
            f'the cell is disabled: its hosts are left out; {command}',
            'enabled, if its servers are to be started, too',
            command,
        )
    red = 0
    for one in told.findings:
        if (one.severity == findings.STALE and one.code not in _STALE) or (
            one.severity == findings.NOTE or one.code in _LATER
        ):
            continue
        red += 1
        yield _row(one)
    for why in silent:
        if why in left_out:
            continue
        red += 1
        yield Finding(
            LAYER,
            readiness.UNKNOWN,
            'cells',
            why,
            'each cell tells its hosts',
            'mend the database',
            ('database/*',),
        )
    if not red:
        yield Finding(
            LAYER,
            readiness.GO,
            'all',
            f'{told.answered} answered; nothing on them is in the way',
            _EXPECTED[LAYER],
        )


def _row(one: Finding) -> Finding:
    layer = _LAYERS.get(one.code.partition('-')[0], LAYER)
    label = '' if one.label == one.host else f' {one.label}'
    return dataclasses.replace(
        one,
        code=layer,
        severity=readiness.UNKNOWN
        if one.severity == findings.UNKNOWN
        else readiness.NO_GO,
        subject=f'{one.host}{label}',
        cause=f'{one.code}: {one.cause}',
        expected=_EXPECTED[layer],
        fix=one.fix or (one.expected and f'{one.expected}  # on {one.host}'),
        behind=_BEHIND.get(one.code, ()),
    )
