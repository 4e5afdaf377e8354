# SPDX-License-Identifier: Apache-2.0

"""One number for each account on all hosts, and their files with it.

The second procedure of the guide, all nine steps, as phases with barriers:
claims, services stopped, accounts, owners, a look at what is left, services
started as they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import claims, clock
from nova_recovery.cloud.db import compute_hosts, services
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import (
    DatabaseUnavailable,
    RecoveryError,
    UsageError,
)
from nova_recovery.procedures import Procedure, starts
from nova_recovery.procedures.starts import Rows
from nova_recovery.procedures.uid import facts as facts_module
from nova_recovery.procedures.uid import gates as gates_module
from nova_recovery.procedures.uid import numbers
from nova_recovery.procedures.uid.facts import Facts, Host, Seen, Share
from nova_recovery.procedures.uid.numbers import Account

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'host-uid'


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants.

    :ivar hosts: exact names
    :ivar uid: role -> the number that it shall have
    :ivar gid: the same
    :ivar was_uid: role -> the number that its files have, where the accounts
        were changed already
    :ivar was_gid: the same
    :ivar accounts: change the accounts
    :ivar files: change the owners of files
    :ivar roots: directories below which they are changed on each host
    :ivar shared: more directories that hosts may share
    :ivar meant: a shared directory, or one below it -> the host as on which
        its files are numbered, where hosts disagree
    :ivar lift: also what chattr protects
    """

    hosts: tuple[str, ...]
    uid: Mapping[str, int] = dataclasses.field(default_factory=dict)
    gid: Mapping[str, int] = dataclasses.field(default_factory=dict)
    was_uid: Mapping[str, int] = dataclasses.field(default_factory=dict)
    was_gid: Mapping[str, int] = dataclasses.field(default_factory=dict)
    accounts: bool = True
    files: bool = True
    roots: tuple[str, ...] = ('/',)
    shared: tuple[str, ...] = ()
    meant: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lift: bool = False

    @property
    def given(self) -> numbers.Goal:
        return _keyed(self.uid, self.gid)

    @property
    def perhaps_shared(self) -> tuple[str, ...]:
        """Where it is found out whether hosts have the same files.

        Roots, too: one on a remote file system without servers would be
        walked from each host at the same time.
        """
        return *self.shared, *(root for root in self.roots if root != '/')

    @property
    def was(self) -> numbers.Goal:
        return _keyed(self.was_uid, self.was_gid)


@dataclasses.dataclass(frozen=True)
class Service:
    """The nova-compute of a host, to be claimed.

    :ivar why_not: why it can't be, '' if it can
    :ivar holder: who has claimed it, '' if nobody
    """

    host: str
    cell: str = ''
    id: int = 0
    seen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    why_not: str = ''
    holder: str = ''


def _keyed(
    uid: Mapping[str, int], gid: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    found = {('uid', role): number for role, number in uid.items()}
    return found | {('gid', role): number for role, number in gid.items()}


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask the hosts and decide.

    :raises ConfigError: no host can be reached
    """
    found = _read(cloud, request)
    served = services_of(cloud, [host.name for host in found.known])
    rows = starts.read(cloud, _guests(found))
    home = cloud.conf.fleet.home
    return decide(request, found, served, rows, home, clock.now())


def _guests(found: Facts) -> dict[str, frozenset[str]]:
    return {host.name: host.guests for host in found.known}


def _read(cloud: Cloud, request: Request) -> Facts:
    return facts_module.read(
        cloud,
        request.hosts,
        {
            'uid': [*request.uid.values(), *request.was_uid.values()],
            'gid': [*request.gid.values(), *request.was_gid.values()],
        },
        request.files,
        request.perhaps_shared,
        guests=True,
    )


def services_of(cloud: Cloud, names: Sequence[str]) -> dict[str, Service]:
    """What is claimed of each host, or why it can't be."""
    found = {}
    # a database that is down is waited for once, not once a host
    down: dict[str, str] = {}
    for name in names:
        try:
            found[name] = _service(cloud, name, down)
        except RecoveryError as error:
            found[name] = Service(name, why_not=str(error))
            if isinstance(error, DatabaseUnavailable):
                down[error.name] = str(error)
    return found


def _service(cloud: Cloud, host: str, down: Mapping[str, str]) -> Service:
    databases = cloud.databases
    api = databases.api
    if api is not None and api.name in down:
        return Service(host, why_not=down[api.name])
    cell = compute_hosts.cell_of(databases, host)
    database = databases.cell(cell)
    if database.name in down:
        return Service(host, why_not=down[database.name])
    having = services.compute_services(database, host)
    if len(having) != 1:
        return Service(host, why_not=f'{len(having)} services in {cell}')
    row = claims.service_row(database, having[0].id)
    names = ('disabled', 'disabled_reason', 'forced_down')
    return Service(
        host,
        cell,
        having[0].id,
        {name: row[name] for name in names if name in row},
        holder=claims.holder(row['disabled_reason']) or '',
    )


def decide(
    request: Request,
    found: Facts,
    served: Mapping[str, Service],
    rows: Rows,
    home: str,
    now: str = '',
) -> Plan:
    """The plan: what each host needs, in phases.

    :raises UsageError: files are said to be as on a host that isn't known,
        or accounts that are to stay to have other numbers than they have
    """
    unknown = set(request.meant.values()) - {h.name for h in found.known}
    if unknown:
        raise UsageError(
            f'not one of the hosts: {", ".join(sorted(unknown))}; there are '
            + ', '.join(sorted(host.name for host in found.known))
        )
    goal = request.given
    if request.accounts:
        goal = numbers.propose(found.known, goal)
    accounts = {
        host.name: list(numbers.accounts(host, goal, request.was))
        for host in found.known
    }
    if not request.accounts:
        _check_unchanged(accounts)
    made = _Steps(request, found, accounts, home)
    concerned = made.concerned
    steps = _claimed(made, served) if concerned else ()
    guests = _guests(found)
    started = {name: guests[name] for name in starts.hosts(steps)}
    gates = [
        *gates_module.of_hosts(found, request.accounts),
        *gates_module.of_numbers(found.known, goal, request.accounts),
        *gates_module.of_files(found.known, accounts),
        *gates_module.of_roots(found, concerned, request.roots),
        *gates_module.of_shares(found, accounts, request.meant),
        *starts.gates(rows, started),
        *gates_module.of_services([served[name] for name in concerned]),
    ]
    return Plan(
        procedure=NAME,
        title=_title(request, concerned, goal),
        arguments=_arguments(request, goal),
        steps=steps,
        gates=tuple(gates),
        notes=tuple(made.notes()),
        created_at=now,
    )


def _check_unchanged(accounts: Mapping[str, Sequence[Account]]) -> None:
    """:raises UsageError: an account that is to stay is given a number"""
    for host, found in accounts.items():
        for one in found:
            if one.shall != one.now:
                raise UsageError(
                    f'{one} of {host} has {one.now}: --files-only takes the '
                    'accounts as they are'
                )


def _title(
    request: Request, concerned: Sequence[str], goal: numbers.Goal
) -> str:
    what = {
        (True, True): 'one number for each account, and its files,',
        (True, False): 'one number for each account (files left alone)',
        (False, True): 'the owners of files',
    }[request.accounts, request.files]
    number = len(concerned)
    return f'{what} on {number} host{"s" * (number != 1)}'


def _arguments(request: Request, goal: numbers.Goal) -> dict[str, Any]:
    """With the numbers that were proposed: they are what is agreed to."""
    said = dataclasses.asdict(request)
    for kind in ('uid', 'gid'):
        said[kind] = {
            role: number for (k, role), number in goal.items() if k == kind
        }
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in said.items()
    }


class _Steps:
    """The phases.

    :ivar concerned: hosts for which there is something to do
    """

    def __init__(
        self,
        request: Request,
        found: Facts,
        accounts: Mapping[str, Sequence[Account]],
        home: str,
    ) -> None:
        self._request, self._found = request, found
        self._accounts, self._home = accounts, home
        self._hosts = {host.name: host for host in found.known}
        self._numbers: dict[str, int] = {}
        changed = {n for n in self._hosts if self._is_changed(n)}
        #: what several hosts have -> the place from which it is walked
        self._walked = {
            share: _from_where(share, changed)
            for share in found.shares
            if request.files and any(self._pairs_of(share).values())
        }
        changed |= {place.host for place in self._walked.values()}
        self.concerned = [name for name in self._hosts if name in changed]

    def _is_changed(self, name: str) -> bool:
        accounts = self._accounts[name]
        if self._request.accounts and any(numbers.moving(accounts).values()):
            return True
        return self._request.files and any(numbers.pairs(accounts).values())

    def steps(self) -> Iterator[Step]:
        """What is done under the claims, and at once undone in reverse."""
        yield Step(
            'stop',
            'stop nova-compute and libvirt',
            tuple(self._each('stop-services')),
            failures=0,
        )
        if self._request.accounts:
            yield Step(
                'accounts',
                'give the accounts their numbers, on all hosts',
                tuple(self._set_accounts()),
                failures=0,
            )
        if self._request.files:
            walks = [*self._shared(), *self._local()]
            yield Step('owners', 'change the owners of files', tuple(walks))
            yield Step(
                'verify',
                'look for what is left',
                tuple(
                    dataclasses.replace(
                        walk,
                        id=walk.id.replace('change', 'verify', 1),
                        kind='verify-owners',
                    )
                    for walk in walks
                ),
            )
        yield Step(
            'start',
            'start libvirt and nova-compute as they were',
            tuple(self._each('start-services', self._shares_of)),
        )

    def notes(self) -> Iterator[str]:
        if self._request.files:
            for one in self._found.remote:
                yield (
                    f'{one.path} of {one.host} ({one.type}, {one.source}) is '
                    f'not walked: --shared {one.path} would'
                )
        for name in set(self._hosts) - set(self.concerned):
            yield f'{name} has these numbers already: nothing is done there'

    def _data(self, host: Host) -> dict[str, Any]:
        return {
            'host': host.name,
            'machine_id': host.machine_id,
            'home': self._home,
            'groups': self._groups(host),
            # libvirt, started by a boot, would give away files of others
            'hold': True,
        }

    def _groups(self, host: Host) -> list[str]:
        """Whose services are stopped.

        libvirt keeps the numbers that it was started with. But a container
        of its own takes the guests along: it is only stopped where these may
        not run, since qemu's user or kvm gets another number.
        """
        moved = {
            one.role
            for one in self._accounts[host.name]
            if one.now != one.shall
        }
        if host.contained and not moved & {'qemu', 'kvm'}:
            return ['nova']
        return ['nova', 'libvirt']

    def _each(self, kind: str, follows: Any = None) -> Iterator[Item]:
        for name in self.concerned:
            host = self._hosts[name]
            yield Item(
                f'{kind}:{name}',
                kind,
                f'host:{name}',
                name,
                {
                    **self._data(host),
                    'running': [
                        name
                        for group in self._groups(host)
                        for name in host.running.get(group, ())
                    ],
                },
                follows(name) if follows else (),
            )

    def _set_accounts(self) -> Iterator[Item]:
        for name in self.concerned:
            moving = numbers.moving(self._accounts[name])
            if any(moving.values()):
                yield Item(
                    f'set-accounts:{name}',
                    'set-accounts',
                    f'host:{name}',
                    name,
                    {
                        **self._data(self._hosts[name]),
                        **{
                            kind: {n: list(pair) for n, pair in found.items()}
                            for kind, found in moving.items()
                        },
                    },
                )

    def _local(self) -> Iterator[Item]:
        """What each host has for itself; what it shares is walked once."""
        shared: dict[str, list[str]] = {}
        for share in self._found.shares:
            for place in share.places:
                shared.setdefault(place.host, []).append(place.path)
        for name in self.concerned:
            pairs = numbers.pairs(self._accounts[name])
            if any(pairs.values()):
                common = sorted(shared.get(name, ()))
                for root in self._request.roots:
                    if any(root == p or _below(root, p) for p in common):
                        continue
                    yield self._walk(
                        name,
                        root,
                        pairs,
                        f'host:{name}',
                        name,
                        leave_out=[p for p in common if _below(p, root)],
                    )

    def _shared(self) -> Iterator[Item]:
        """Each from one host only, after all that have it are ready."""
        for share, place in self._walked.items():
            names = _hosts_of(share)
            roots = self._roots(share, place)
            for root, pairs in roots.items():
                if any(pairs.values()):
                    yield self._walk(
                        place.host,
                        root,
                        pairs,
                        _subject(place),
                        f'{root} of {", ".join(names)}',
                        tuple(f'host:{name}' for name in names),
                        sorted(path for path in roots if _below(path, root)),
                    )

    def _roots(
        self, share: Share, place: Seen
    ) -> dict[str, dict[str, dict[int, int]]]:
        """Directory -> what becomes of the numbers of its files."""
        found = {place.path: self._pairs_of(share)}
        for path, host in self._request.meant.items():
            if path == place.path or _below(path, place.path):
                found[path] = numbers.pairs(self._accounts[host])
        return found

    def _pairs_of(self, share: Share) -> dict[str, dict[int, int]]:
        found: dict[str, dict[int, int]] = {'uid': {}, 'gid': {}}
        for name in _hosts_of(share):
            for kind, pairs in numbers.pairs(self._accounts[name]).items():
                found[kind] |= pairs
        return found

    def _walk(
        self,
        name: str,
        root: str,
        pairs: Mapping[str, Mapping[int, int]],
        subject: str,
        label: str,
        follows: tuple[str, ...] = (),
        leave_out: Sequence[str] = (),
    ) -> Item:
        number = self._numbers[name] = self._numbers.get(name, -1) + 1
        return Item(
            f'change-owners:{name}:{root}',
            'change-owners',
            subject,
            label,
            {
                **self._data(self._hosts[name]),
                'root': root,
                'leave_out': list(leave_out),
                'lift': self._request.lift,
                'number': number,
                **{
                    kind: [
                        f'{old}:{new}' for old, new in sorted(found.items())
                    ]
                    for kind, found in pairs.items()
                },
            },
            follows,
        )

    def _shares_of(self, name: str) -> tuple[str, ...]:
        return tuple(
            _subject(place)
            for share, place in self._walked.items()
            if name in _hosts_of(share)
        )


def _from_where(share: Share, changed: Collection[str]) -> Seen:
    """A host where root is root, and one that has to be stopped anyway."""
    return min(
        share.places, key=lambda one: (one.squashed, one.host not in changed)
    )


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip('/') + '/')


def _hosts_of(share: Share) -> list[str]:
    return sorted({place.host for place in share.places})


def _subject(place: Seen) -> str:
    return f'share:{place.host}:{place.path}'


def _claimed(made: _Steps, served: Mapping[str, Service]) -> tuple[Step, ...]:
    """Between claims of the hosts that can be claimed."""
    steps = tuple(made.steps())
    items = [
        claiming.host(one.host, one.cell, one.id, dict(one.seen))
        for one in (served[name] for name in made.concerned)
        if not one.why_not
    ]
    if not items:
        return steps
    claim, *others = claiming.around(items, steps)
    # on all or on none, as what comes next
    return dataclasses.replace(claim, failures=0), *others


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now.

    A host that was begun is on its way: what is asked of it is that it
    answers, and is the machine that it was. What its nova-compute would
    destroy at its start is asked of all that are left, begun or not.
    """
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in plan.arguments.items()
    }
    request = Request(**said)
    begun = {name for name in request.hosts if f'host:{name}' in touched}
    if begun:
        found = facts_module.read(cloud, request.hosts, guests=True)
        return (
            *gates_module.of_hosts(found, accounts=False),
            *starts.left(plan, cloud, _guests(found)),
        )
    now = make_plan(cloud, request)
    return now.gates


PROCEDURE = Procedure(
    NAME, make_plan, check, back=frozenset({'claim', 'stop', 'accounts'})
)
