# SPDX-License-Identifier: Apache-2.0

"""iSCSI sessions, and what volume each of their disks is."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import re

from nova_recovery.host import commands

#: iscsiadm(8): no records, targets, sessions or portals found
NO_SESSIONS = 21

_FIELDS = {
    'target': re.compile(r'Target: (\S+)'),
    'portal': re.compile(r'\s+Current Portal: (\S+?)(?:,\S*)?$'),
    'state': re.compile(r'\s+iSCSI Session State: (.+)$'),
    'lun': re.compile(r'\s+scsi\d+ Channel \d+ Id \d+ Lun: (\d+)'),
    'device': re.compile(r'\s+Attached scsi disk (\S+)'),
}

# what cinder's LVM and many other drivers call the target of a volume:
# iqn.2010-10.org.openstack:volume-UUID (cinder/volume/targets/iscsi.py)
_VOLUME = re.compile(
    r'volume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Session:
    """One disk of a session; a session without a disk has no lun.

    :ivar portal: address and port that it is logged in to
    :ivar device: such as ``sdb``
    :ivar volume: the id that the name of the target tells, None where it
        tells none
    """

    target: str
    portal: str
    state: str
    lun: int | None
    device: str | None
    volume: str | None


def sessions() -> list[Session]:
    """The sessions of this host.

    :raises HostError: that can't be known
    """
    return list(
        parse(
            commands.run(
                ['iscsiadm', '-m', 'session', '-P', '3'], fine=(0, NO_SESSIONS)
            )
        )
    )


def parse(text: str) -> Iterator[Session]:
    """Sessions out of what ``iscsiadm -m session -P 3`` writes.

    Only named fields are taken: it writes CHAP names and passwords too.
    """
    seen: dict[str, str] = {}
    found = False
    for line in text.splitlines():
        for name, pattern in _FIELDS.items():
            match = pattern.match(line)
            if match is None:
                continue
            if name in ('target', 'portal') and seen.get('portal'):
                # the next session begins: of another target, or of another
                # portal of the same
                if not found:
                    yield _session(seen)
                seen = {} if name == 'target' else {'target': seen['target']}
                found = False
            seen[name] = match[1]
            if name == 'lun':
                seen.pop('device', None)
            elif name == 'device':
                yield _session(seen)
                found = True
    if seen.get('portal') and not found:
        yield _session(seen)


def _session(seen: dict[str, str]) -> Session:
    target = seen.get('target', '')
    volume = _VOLUME.search(target)
    lun = seen.get('lun')
    return Session(
        target=target,
        portal=seen.get('portal', ''),
        state=seen.get('state', '').strip(),
        lun=None if lun is None else int(lun),
        device=seen.get('device'),
        volume=volume[1].lower() if volume else None,
    )
