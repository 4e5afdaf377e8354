# SPDX-License-Identifier: Apache-2.0

"""What the hosts say of their accounts, and which directories they share.

All is asked of all hosts at once. What is left on them is a file of no bytes
in each directory of servers, for a moment: nova itself finds out by such
files what is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
import dataclasses
import secrets
from typing import Any, TYPE_CHECKING

from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from nova_recovery.fleet.script import Words
from nova_recovery.procedures import starts

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.fleet.fleet import Fleet

#: As the agent calls them, and where it shows them.
KINDS = {'uid': 'users', 'gid': 'groups'}


@dataclasses.dataclass(frozen=True)
class Host:
    """One compute host.

    :ivar problem: why it is not known; '' if it is
    :ivar refused: the problem is a refusal; else nothing came back
    :ivar users: name -> what the agent's ``accounts show`` says
    :ivar groups: the same
    :ivar uses: kind -> number -> who uses it, ``[{kind, who}]``
    :ivar unknown: what could not be asked
    :ivar running: group (nova, libvirt) -> names of its services that run
    :ivar contained: libvirt is in a container, and with it the guests
    :ivar guests: UUIDs of those that run there, where it was asked for
    """

    name: str
    machine_id: str = ''
    problem: str = ''
    refused: bool = False
    users: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    groups: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    uses: Mapping[str, Mapping[int, Sequence[Mapping[str, str]]]] = (
        dataclasses.field(default_factory=dict)
    )
    unknown: tuple[str, ...] = ()
    running: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    contained: bool = False
    guests: frozenset[str] = frozenset()

    def named(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Its users (uid) or groups (gid)."""
        return self.users if kind == 'uid' else self.groups

    def users_of(
        self, kind: str, number: int
    ) -> Sequence[Mapping[str, str]] | None:
        """Who uses a number; None: it was not asked for."""
        return self.uses.get(kind, {}).get(number)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A directory of one host that others may have, too.

    :ivar remote: by the type of its file system
    :ivar disks: nova keeps servers there, or the operator named it
    :ivar squashed: the server distrusts root
    """

    host: str
    path: str
    type: str
    source: str
    remote: bool
    disks: bool
    squashed: bool = False


@dataclasses.dataclass(frozen=True)
class Share:
    """One directory, as several hosts have it, or one has it remotely."""

    places: tuple[Seen, ...]


@dataclasses.dataclass(frozen=True)
class Facts:
    """All of it.

    :ivar hosts: in the order in which they were named
    :ivar shares: those with servers on them
    :ivar remote: remote file systems with nothing of nova on them
    :ivar unshared: host -> why it is not known what it shares
    :ivar unfit: host -> directory that was asked about -> why it can't be
        walked
    """

    hosts: tuple[Host, ...]
    shares: tuple[Share, ...] = ()
    remote: tuple[Seen, ...] = ()
    unshared: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unfit: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def known(self) -> tuple[Host, ...]:
        """The hosts that answered."""
        return tuple(host for host in self.hosts if not host.problem)


def read(
    cloud: Cloud,
    names: Sequence[str],
    numbers: Mapping[str, Collection[int]] | None = None,
    shares: bool = False,
    paths: Sequence[str] = (),
    guests: bool = False,
) -> Facts:
    """Ask the hosts.

    :param names: exact names of nova hosts
    :param numbers: kind (uid, gid) -> numbers to ask about on each
    :param shares: find out what they share, too
    :param paths: more directories that they may share
    :param guests: find out which guests run on them, too
    :raises ConfigError: the fleet can't be reached at all
    """
    fleet: Fleet = cloud.fleet
    identified = fleet.identify(names)
    there = [n for n in names if identified[n].state == answer.DONE]
    asked: list[Words] = [('accounts show', {}), ('services list', {})]
    if shares:
        asked.append(('shared list', {'path': list(paths)}))
    first = _of_all(fleet, there, *asked)
    wanted = _numbers(first.values(), numbers or {})
    more: list[Words] = [('guests list', {})] if guests else []
    accounts = _of_all(fleet, there, ('accounts show', wanted), *more)
    hosts = tuple(
        _host(name, identified[name], first.get(name), accounts.get(name))
        for name in dict.fromkeys(names)
    )
    if not shares:
        return Facts(hosts)
    listed = {
        host.name: _part(first[host.name], 2)
        for host in hosts
        if not host.problem
    }
    unfit = {name: found['unfit'] for name, found in listed.items()}
    return Facts(hosts, *_shares(fleet, listed), unfit)


def _part(found: Answer, place: int) -> Mapping[str, Any]:
    """One of several answers."""
    parts = found.result.get('answers', ())
    said: Mapping[str, Any] = parts[place] if place < len(parts) else {}
    return said


def _not_known(name: str, found: Answer) -> Host:
    return Host(
        name, problem=found.detail, refused=found.state == answer.REFUSED
    )


def _host(
    name: str, identified: Answer, first: Answer | None, second: Answer | None
) -> Host:
    for found in (identified, first, second):
        if found is not None and found.state != answer.DONE:
            return _not_known(name, found)
    if first is None or second is None:
        return Host(name, problem='not asked')
    said, services = _part(second, 0), _part(first, 1)['services']
    return Host(
        name,
        machine_id=identified.result['machine_id'],
        users=said['users'],
        groups=said['groups'],
        uses={
            kind: {int(number): who for number, who in uses.items()}
            for kind, uses in said['uses'].items()
        },
        unknown=tuple(said['unknown']),
        running={
            group: tuple(
                row['name']
                for row in services
                if row['runs'] and row['group'] == group
            )
            for group in ('nova', 'libvirt')
        },
        contained=bool(identified.result['layout']['exec_prefix']),
        guests=starts.running(_part(second, 1)),
    )


def _numbers(
    answers: Collection[Answer], more: Mapping[str, Collection[int]]
) -> dict[str, list[int]]:
    """All numbers that matter on any host, to be looked up on each."""
    found = {kind: set(more.get(kind, ())) for kind in KINDS}
    for one in answers:
        for kind, word in KINDS.items():
            for account in _part(one, 0).get(word, {}).values():
                found[kind].add(account[kind])
    return {kind: sorted(numbers) for kind, numbers in found.items()}


def _of_all(
    fleet: Fleet, names: Sequence[str], *calls: Words
) -> dict[str, Answer]:
    return fleet.each(names, lambda name: fleet.several(name, *calls))


def _shares(
    fleet: Fleet, listed: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[Share, ...], tuple[Seen, ...], dict[str, str]]:
    """As :class:`Facts` has them.

    :param listed: host -> what its ``shared list`` says
    """
    seen = [
        Seen(name, **row)
        for name, found in listed.items()
        for row in found['paths']
    ]
    places = [one for one in seen if one.disks]
    by_host = {
        name: [n for n, one in enumerate(places) if one.host == name]
        for name in listed
    }
    by_host = {name: own for name, own in by_host.items() if own}
    token = secrets.token_hex(8)

    def ask(verb: str, number: Callable[[str], int]) -> dict[str, Answer]:
        return fleet.each(
            list(by_host),
            lambda name: fleet.run(
                name,
                f'shared {verb}',
                {
                    'path': [places[n].path for n in by_host[name]],
                    'token': token,
                    'number': number(name),
                },
            ),
        )

    def first(name: str) -> int:
        return by_host[name][0]

    try:
        marked = ask('mark', first)
        looked = ask('look', lambda name: len(places))
    finally:
        ask('clear', first)
    unshared = _refusals(marked) | _refusals(looked)
    squashed = {
        n
        for n, one in enumerate(places)
        if _said(marked, one).get('uid') not in (0, None)
        or _said(marked, one).get('denied')
    }
    shares = []
    for group in _groups(places, looked):
        found = tuple(
            dataclasses.replace(places[n], squashed=n in squashed)
            for n in group
        )
        if len({one.host for one in found}) > 1 or found[0].remote:
            shares.append(Share(found))
    rest = tuple(one for one in seen if one.remote and not one.disks)
    return tuple(shares), rest, unshared


def _refusals(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {
        name: found.detail
        for name, found in answers.items()
        if found.state != answer.DONE
    }


def _said(answers: Mapping[str, Answer], place: Seen) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (
        answers[place.host].result.get('paths', {}).get(place.path, {})
    )
    return found


def _groups(
    places: Sequence[Seen], looked: Mapping[str, Answer]
) -> list[list[int]]:
    """The places that see each other's files, and those that are alone."""
    group = list(range(len(places)))

    def top(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    for number, place in enumerate(places):
        for other in _said(looked, place):
            group[top(int(other))] = top(number)
    found: dict[int, list[int]] = {}
    for number in range(len(places)):
        found.setdefault(top(number), []).append(number)
    return list(found.values())
