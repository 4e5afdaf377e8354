# SPDX-License-Identifier: Apache-2.0

"""What hosts tell of themselves over the fleet, all of it asked at once.

It is what ``host check``, ``iscsi session list``, ``guest check`` and ``host
path list`` know, each thing once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
import dataclasses
import time
from typing import TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db import connections
from nova_recovery.cloud.records import Service
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.procedures import (
    check_guests,
    check_hosts,
    list_paths,
    reached,
)
from nova_recovery.procedures.disaster.look.hosts import Domain, Host, Session
from nova_recovery.procedures.iscsi import facts as iscsi_facts
from nova_recovery.procedures.iscsi import show as iscsi_show
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.rules import show as rules_show
from nova_recovery.procedures.rules.saved import Saved
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.fleet.script import Words

CALLS: tuple[Words, ...] = (
    ('check', {}),
    ('iscsi list', {}),
    ('guests list', {}),
    ('paths', {}),
)


@dataclasses.dataclass(frozen=True)
class Told:
    """What hosts told.

    :ivar asked: how many, with those that did not answer
    :ivar answered: of them
    :ivar findings: of all of them; nothing that is as it should be
    :ivar hosts: the compute hosts that answered, as their files tell of them
    :ivar unknown: why they were not compared with nova as a whole, lines
    """

    asked: int = 0
    answered: int = 0
    findings: tuple[Finding, ...] = ()
    hosts: tuple[Host, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def summary(self) -> tuple[str, ...]:
        """Lines."""
        silent = self.asked - self.answered
        told = findings.counted(
            findings.Assessment(None, self.findings, ()).counts
        )
        return (
            *(f'hosts not compared with nova: {why}' for why in self.unknown),
            f'{self.answered} of {self.asked} hosts answered'
            f'{f", {silent} did not" if silent else ""}; of them: '
            f'{told or "nothing is wrong"}',
        )


def storage_hosts(
    services: Iterable[Service], skipped: Collection[str] = ()
) -> list[str]:
    """The hosts of cinder-volume.

    :param skipped: ``host@backend`` that does not matter
    """
    return sorted(
        {
            one.host.partition('@')[0]
            for one in services
            if one.binary == 'cinder-volume' and one.host not in skipped
        }
    )


def read(
    cloud: Cloud,
    computes: Collection[str],
    storage: Collection[str] = (),
    progress: Callable[[str], None] = lambda text: None,
    rules: Saved | None = None,
) -> Told:
    """Ask hosts, and compare them with nova.

    :param computes: exact names of compute hosts
    :param storage: others, of which only those are asked that the inventory
        has; nobody promised that it has them
    :param rules: those that were saved, to be compared with
    :raises ConfigError: the fleet can't be reached at all
    """
    others = [
        name
        for name in storage
        if name not in computes and cloud.fleet.knows(name)
    ]
    number = len(computes) + len(others)
    progress(f'asking {wording.count(number, "host")} …')
    began, taken_at = time.time(), clock.now()
    calls = (*CALLS, ('rules list', {})) if rules else CALLS
    hosts = reached.read(cloud, [*computes, *others], *calls)
    between = began, time.time()
    there = [
        one for one in hosts if not one.problem and one.name not in others
    ]
    names = [one.name for one in there]
    wanted, unknown = iscsi_facts.wanted_by(cloud, names, connections.DISKS)
    guests = _part(there, 2)
    seen = {g.uuid for one in guests for g in check_guests.guests_of(one)}
    servers, deleted, why = check_guests.read_nova(cloud, names, seen)
    sessions = iscsi_facts.Facts(
        tuple(_part(there, 1)),
        {
            name: tuple(
                one for one in some if one.protocol in connections.ISCSI
            )
            for name, some in wanted.items()
        },
        unknown,
    )
    paths = iscsi_facts.Facts(tuple(_part(there, 3)), wanted, unknown)
    checked = check_hosts.judge(
        check_hosts.Facts(tuple(_without_disks(_part(hosts, 0))), between),
        check_hosts.differences(cloud, names),
    )
    compared = check_guests.judge(
        check_guests.Facts(tuple(guests), servers, deleted, why)
    )
    return Told(
        len(hosts),
        sum(not one.problem for one in hosts),
        tuple(
            one
            for one in (
                *checked.findings,
                *compared.findings,
                *_of_disks(sessions, paths),
                *_of_rules(rules, there),
            )
            if one.severity != findings.GOOD
        ),
        tuple(
            _host(taken_at, session, guest, sessions)
            for session, guest in zip(sessions.hosts, guests)
        ),
        tuple(dict.fromkeys((*unknown, *why))),
    )


def _part(hosts: Iterable[Reached], place: int) -> list[Reached]:
    """The same hosts with one of their answers."""
    return [
        dataclasses.replace(one, said=one.said[place : place + 1])
        for one in hosts
    ]


def _without_disks(hosts: Iterable[Reached]) -> Iterator[Reached]:
    """Sessions and maps are told with the volumes that they are of."""
    for one in hosts:
        said = ({**said, 'sessions': [], 'maps': []} for said in one.said)
        yield dataclasses.replace(one, said=tuple(said))


def _of_disks(
    sessions: iscsi_facts.Facts, paths: iscsi_facts.Facts
) -> Iterator[Finding]:
    """Of sessions and of all other disks, each once."""
    of_sessions = iscsi_show.judge(sessions).findings
    yield from of_sessions
    told = {
        (one.host, one.volume)
        for one in of_sessions
        if one.volume and one.severity != findings.GOOD
    }
    disks = {
        (one.name, disk['device'])
        for one in sessions.hosts
        for session in one.said[0]['sessions']
        for disk in session['disks']
    }
    for one in list_paths.judge(paths).findings:
        if (one.host, one.more.get('disk')) not in disks and (
            one.host,
            one.volume,
        ) not in told:
            yield one


def _of_rules(
    known: Saved | None, hosts: Iterable[Reached]
) -> Iterator[Finding]:
    """Of those whose rules were saved."""
    if known is not None:
        there = [one for one in hosts if one.name in known.hosts]
        yield from rules_show.judge(known, _part(there, len(CALLS))).findings


def _host(
    taken_at: str, session: Reached, guest: Reached, found: iscsi_facts.Facts
) -> Host:
    """One that answered, as its file would tell of it."""
    guests = list(check_guests.guests_of(guest))
    known = guest.said[0]['domains'] is not None
    return Host(
        guest.name,
        taken_at,
        {
            one.uuid: Domain(
                one.domain.get('name', ''),
                # that it has a process is enough
                'running' if one.state == 'unknown' else one.state or 'off',
                frozenset(one.domain.get('serials', ())),
            )
            for one in guests
        }
        if known
        else None,
        tuple(_sessions(session, found)),
        in_files=False,
    )


def _sessions(host: Reached, found: iscsi_facts.Facts) -> Iterator[Session]:
    for one in found.sessions(host):
        whole: Sequence[dict[str, object]] = [{'lun': None}]
        for disk in one.disks or whole:
            yield Session(one.target, one.portal, disk['lun'], one.state)
