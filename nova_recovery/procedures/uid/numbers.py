# SPDX-License-Identifier: Apache-2.0

"""Which number each account shall have, and what that changes. Pure.

An account is called by its role, since distributions call it otherwise: the
role ``qemu`` is libvirt-qemu here and qemu there.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
import dataclasses

from nova_recovery.exceptions import UsageError
from nova_recovery.host.agent.accounts import look
from nova_recovery.procedures.uid.facts import Host

ROLES = {'uid': look.USERS, 'gid': look.GROUPS}
WORDS = {'uid': 'user', 'gid': 'group'}
#: Uses of a number by which nobody has it now.
HARMLESS = frozenset({'dynamic-range', 'sysusers.d', 'tmpfiles.d'})
#: What its holder takes along when it leaves the number.
_LEAVES = frozenset({'passwd', 'group', 'primary', 'process', 'nss'})

#: (kind, role) -> number, of an account that shall have it on all hosts.
Goal = Mapping[tuple[str, str], int]


@dataclasses.dataclass(frozen=True)
class Account:
    """One account of one host.

    :ivar kind: uid or gid
    :ivar name: what it is called there
    :ivar was: the number that its files have
    :ivar now: the number that it has
    :ivar shall: the number that it shall have
    """

    kind: str
    role: str
    name: str
    was: int
    now: int
    shall: int

    def __str__(self) -> str:
        return f'{WORDS[self.kind]} {self.name}'


def role_of(kind: str, word: str) -> str:
    """The role of an account by any of its names.

    :raises UsageError: it is none that procedures know
    """
    for role, names in ROLES[kind].items():
        if word == role or word in names:
            return role
    known = ', '.join(
        dict.fromkeys(name for names in ROLES[kind].values() for name in names)
    )
    raise UsageError(f'--{kind} {word}: there are {known}')


def name_on(host: Host, kind: str, role: str) -> str:
    """What a role is called on a host, '' if it isn't there."""
    for name in ROLES[kind][role]:
        if name in host.named(kind):
            return name
    return ''


def number_on(host: Host, kind: str, role: str) -> int | None:
    """The number of a role on a host."""
    name = name_on(host, kind, role)
    return int(host.named(kind)[name][kind]) if name else None


def counts(
    hosts: Sequence[Host], kind: str, role: str
) -> collections.Counter[int]:
    """How many hosts have which number."""
    found = (number_on(host, kind, role) for host in hosts)
    return collections.Counter(n for n in found if n is not None)


def roles() -> Iterator[tuple[str, str]]:
    """All accounts: (kind, role)."""
    for kind, known in ROLES.items():
        for role in known:
            yield kind, role


def propose(hosts: Sequence[Host], given: Goal) -> Goal:
    """One number for each account: as given, else the most common free one.

    An account with no number that is free on all hosts is left out.
    """
    likely = {
        key: given[key] if key in given else _common(hosts, *key)[0]
        for key in roles()
        if key in given or _common(hosts, *key)
    }
    goal = dict(given)
    for key in likely:
        if key in goal:
            continue
        for number in _common(hosts, *key):
            trial = {**likely, **goal, key: number}
            if not any(taken(host, trial, *key) for host in hosts):
                goal[key] = number
                break
    return goal


def _common(hosts: Sequence[Host], kind: str, role: str) -> list[int]:
    """The most common first; of equals the lower."""
    found = counts(hosts, kind, role)
    return sorted(found, key=lambda number: (-found[number], number))


def taken(host: Host, goal: Goal, kind: str, role: str) -> list[str]:
    """Who else has the number that an account of a host shall have."""
    number = goal[kind, role]
    if number_on(host, kind, role) in (number, None):
        return []
    uses = host.users_of(kind, number)
    if uses is None:
        return ['not asked']
    leaving = {
        number_on(host, *key)
        for key, shall in goal.items()
        if key[0] == kind and number_on(host, *key) not in (shall, None)
    }
    return [
        f'{use["kind"]} {use["who"]}'
        for use in uses
        if use['kind'] not in HARMLESS
        and not (number in leaving and use['kind'] in _LEAVES)
    ]


def others(host: Host, kind: str, number: int) -> Iterator[str]:
    """Who uses a number beside the accounts of nova and libvirt."""
    ours = {
        n for known in ROLES.values() for some in known.values() for n in some
    }
    for use in host.users_of(kind, number) or ():
        # what runs with it is theirs, or they would not have it alone
        if use['kind'] != 'process' and use['who'].split(' ')[0] not in ours:
            yield f'{use["kind"]} {use["who"]}'


def accounts(host: Host, goal: Goal, was: Goal) -> Iterator[Account]:
    """The accounts of a host; without a goal they keep what they have.

    :param was: what their files have, where that isn't what they have now
    """
    for kind, role in roles():
        now = number_on(host, kind, role)
        if now is not None:
            yield Account(
                kind,
                role,
                name_on(host, kind, role),
                was.get((kind, role), now),
                now,
                goal.get((kind, role), now),
            )


def moving(found: Sequence[Account]) -> dict[str, dict[str, tuple[int, int]]]:
    """Of those that get another number: kind -> name -> (now, shall)."""
    result: dict[str, dict[str, tuple[int, int]]] = {'uid': {}, 'gid': {}}
    for one in found:
        if one.now != one.shall:
            result[one.kind][one.name] = one.now, one.shall
    return result


def pairs(found: Sequence[Account]) -> dict[str, dict[int, int]]:
    """What becomes of the numbers of files: kind -> old -> new."""
    result: dict[str, dict[int, int]] = {'uid': {}, 'gid': {}}
    for one in found:
        if one.was != one.shall:
            result[one.kind][one.was] = one.shall
    return result


def clashes(
    hosts: Mapping[str, Sequence[Account]],
) -> Iterator[tuple[str, int, dict[int, list[str]]]]:
    """Old numbers that mean several accounts on hosts that share files.

    :param hosts: host -> its accounts
    :returns: kind, the old number, and what would become of it -> which
        accounts say so
    """
    meant: dict[tuple[str, int], dict[int, list[str]]] = {}
    for name, found in hosts.items():
        for one in found:
            shall = meant.setdefault((one.kind, one.was), {})
            shall.setdefault(one.shall, []).append(f'{one} on {name}')
    for (kind, number), shall in meant.items():
        if len(shall) > 1:
            yield kind, number, shall
