# SPDX-License-Identifier: Apache-2.0

"""What hosts tell of themselves, out of snapshot files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any
from xml.etree import ElementTree  # nosec B405

from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot, Source


@dataclasses.dataclass(frozen=True)
class Domain:
    """A guest as the hypervisor has it.

    :ivar disks: serials of its disks, which nova makes the ids of volumes
    """

    name: str
    state: str
    disks: frozenset[str] = frozenset()

    @property
    def runs(self) -> bool:
        # virsh's words; idle is running, and blocked
        return self.state in ('running', 'idle')


@dataclasses.dataclass(frozen=True)
class Session:
    """An iSCSI session's disk.

    :ivar volume: id, None where nothing tells it
    """

    target: str
    portal: str
    lun: Any
    state: str
    volume: str | None = None
    server: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.target, self.portal, str(self.lun)


@dataclasses.dataclass(frozen=True)
class Host:
    """One host at one moment; what is None is not known.

    :ivar domains: server -> its domain
    :ivar rules: tool, such as ``nft`` -> all rules
    :ivar in_files: its file tells it; else it was asked itself
    """

    name: str
    taken_at: str
    domains: Mapping[str, Domain] | None = None
    sessions: tuple[Session, ...] | None = None
    rules: Mapping[str, str] | None = None
    in_files: bool = True


def of(snapshots: Iterable[Snapshot]) -> dict[str, Host]:
    """Every host that told of itself, its newest word where it did twice.

    :raises RecoveryError: a file is damaged
    """
    found: dict[str, Host] = {}
    for snapshot in snapshots:
        for source in snapshot.sources:
            if source.kind != 'host':
                continue
            name = source.name.partition(':')[2]
            other = found.get(name)
            if other is None or other.taken_at < (source.taken_at or ''):
                found[name] = _host(snapshot, name, source)
    return found


def _host(snapshot: Snapshot, name: str, source: Source) -> Host:
    rows: dict[str, list[dict[str, Any]] | None] = {}
    for section in ('domains', 'sessions', 'rules'):
        states = {
            part.state
            for part in snapshot.parts
            if part.section == section and part.source == source.name
        }
        rows[section] = (
            list(snapshot.rows(section, source=source.name))
            # a program that isn't installed made no session and no rule
            if states and format_module.UNKNOWN not in states
            else None
        )
    domains, sessions, rules = rows.values()
    return Host(
        name=name,
        taken_at=source.taken_at or '',
        domains=None
        if domains is None
        else {
            str(row['uuid']): Domain(
                str(row['name'] or ''),
                str(row['state'] or ''),
                serials(row['xml']),
            )
            for row in domains
        },
        sessions=None
        if sessions is None
        else tuple(
            Session(
                str(row['target']),
                str(row['portal']),
                row['lun'],
                str(row['state'] or ''),
                row['volume'],
                row['server'],
            )
            for row in sessions
        ),
        rules=None
        if rules is None
        else {str(row['tool']): str(row['text'] or '') for row in rules},
    )


def serials(xml: str | None) -> frozenset[str]:
    """The serials of the disks of a domain; none of what is no XML."""
    try:
        # of a file that only root can write; entities are not expanded
        # beyond it
        root = ElementTree.fromstring(xml or '<domain/>')  # nosec B314
    except ElementTree.ParseError:
        return frozenset()
    return frozenset(
        serial.strip()
        for serial in (d.findtext('serial') for d in root.iter('disk'))
        if serial and serial.strip()
    )
