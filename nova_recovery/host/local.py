# SPDX-License-Identifier: Apache-2.0

"""Everything that a snapshot wants of the host on which it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import dataclasses
import os
from typing import Any

from nova_recovery.host import iscsi, mounts, packet_filter
from nova_recovery.host.commands import HostError, NotInstalled
from nova_recovery.host.domains import Domain, domains


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one look at the host gave.

    :ivar rows: None where it could not be had
    :ivar problem: why not, or what was left out
    :ivar absent: it could not be had because the host has no such program
    """

    rows: list[tuple[Any, ...]] | None
    problem: str = ''
    absent: bool = False


def look() -> dict[str, Answer]:
    """The host's sections of a snapshot, by name.

    ``sessions`` (protocol, target, portal, lun, device, state, volume,
    server), ``rules`` (tool, text), ``domains`` (uuid, name, state,
    autostart, persistent, xml), ``mounts`` (target, device, type, options)
    and ``fstab`` (line number, text). The last two are not masked.
    """
    found: list[Domain] = []
    answers = {'domains': _asked(lambda: _domains(found))}
    answers['sessions'] = _asked(lambda: _sessions(found))
    answers['rules'] = _rules()
    answers['mounts'] = _asked(
        lambda: [dataclasses.astuple(m) for m in mounts.mounted()]
    )
    answers['fstab'] = _asked(lambda: list(mounts.fstab()))
    return answers


def _asked(ask: Callable[[], list[tuple[Any, ...]]]) -> Answer:
    try:
        return Answer(ask())
    except HostError as error:
        return Answer(None, str(error), isinstance(error, NotInstalled))


def _domains(found: list[Domain]) -> list[tuple[Any, ...]]:
    found += domains()
    return [
        (
            domain.uuid,
            domain.name,
            domain.state,
            int(domain.autostart),
            int(domain.persistent),
            domain.xml,
        )
        for domain in found
    ]


def _sessions(found: Iterable[Domain]) -> list[tuple[Any, ...]]:
    used = by_device(found)
    rows: list[tuple[Any, ...]] = []
    for session in iscsi.sessions():
        volume, server = used.get(session.device or '', (None, None))
        if server is None and session.volume:
            # the path of a multipath device tells no single disk
            server = next(
                (s for v, s in used.values() if v == session.volume), None
            )
        rows.append(
            (
                'iscsi',
                session.target,
                session.portal,
                session.lun,
                session.device,
                session.state,
                volume or session.volume,
                server,
            )
        )
    return rows


def by_device(found: Iterable[Domain]) -> dict[str, tuple[str, str]]:
    """The kernel's name of each disk -> (volume, server) that it is.

    From the disks of domains: their serial is the volume, the UUID of the
    domain the server; links such as those in /dev/disk/by-path are followed.
    """
    return {
        os.path.basename(os.path.realpath(source)): (serial, domain.uuid)
        for domain in found
        for source, serial in domain.disks.items()
        if source.startswith('/dev/')
    }


def _rules() -> Answer:
    rows: list[tuple[Any, ...]] = []
    problems = []
    absent = 0
    for tool in packet_filter.TOOLS:
        try:
            rows.append((tool, packet_filter.rules(tool)))
        except NotInstalled:
            absent += 1
        except HostError as error:
            problems.append(str(error))
    if problems:
        # half of the rules would pass for all of them
        return Answer(None, '; '.join(problems))
    if absent == len(packet_filter.TOOLS):
        return Answer(None, 'no packet filter is installed', absent=True)
    return Answer(rows)
