# SPDX-License-Identifier: Apache-2.0

"""What must hold before a host's accounts get other numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from nova_recovery.engine.plan import Gate
from nova_recovery.procedures import reached
from nova_recovery.procedures.gates import ways_on
from nova_recovery.procedures.uid import numbers
from nova_recovery.procedures.uid.facts import Facts, Host
from nova_recovery.procedures.uid.numbers import Account, Goal, WORDS


class Served(Protocol):
    """The nova-compute of a host."""

    @property
    def host(self) -> str: ...

    @property
    def why_not(self) -> str: ...

    @property
    def holder(self) -> str: ...


def of_hosts(found: Facts, accounts: bool) -> Iterator[Gate]:
    """Whether each host answers for itself.

    :param accounts: whether its accounts are to be known, too
    """
    yield from reached.gates(found.hosts)
    for host in found.known:
        if host.unknown and accounts:
            yield Gate(
                'numbers-free',
                host.name,
                'hard',
                'unknown',
                '; '.join(host.unknown),
                'no number counts as free before that answers',
            )


def of_numbers(
    hosts: Sequence[Host], goal: Goal, accounts: bool
) -> Iterator[Gate]:
    """Whether each account can have its number on each host."""
    if not accounts:
        return
    for kind, role in numbers.roles():
        found = numbers.counts(hosts, kind, role)
        if len(found) > 1 and (kind, role) not in goal:
            name = numbers.ROLES[kind][role][0]
            yield Gate(
                'numbers-free',
                name,
                'hard',
                'refused',
                f'{WORDS[kind]} {name} has '
                + ' and '.join(map(str, sorted(found)))
                + ', none of which is free on all hosts',
                f'give one that is: --{kind} {name}=NUMBER',
            )
    for host in hosts:
        yield from _of_host(host, goal)


def _of_host(host: Host, goal: Goal) -> Iterator[Gate]:
    moved = []
    for (kind, role), shall in goal.items():
        name = numbers.name_on(host, kind, role)
        if not name or numbers.number_on(host, kind, role) == shall:
            continue
        moved.append((kind, role))
        yield from _of_account(host, kind, name)
        others = numbers.taken(host, goal, kind, role)
        if others:
            yield Gate(
                'numbers-free',
                host.name,
                'hard',
                'refused',
                f'{kind} {shall}, for {name}, is taken: {others[0]}',
                f'give another number: --{kind} {name}=NUMBER',
            )
        yield from _set_back(host, kind, shall, name)
    yield from _no_guest(host, moved)


def _of_account(host: Host, kind: str, name: str) -> Iterator[Gate]:
    account = host.named(kind)[name]
    word = f'{WORDS[kind]} {name}'
    if account['source'] not in ('passwd', 'group'):
        yield Gate(
            'accounts-local',
            host.name,
            'hard',
            'refused',
            f'{word} is of {account["source"]}, not of this host',
            'change it there; then --files-only',
        )
    others = [
        *account['shared_with'],
        *(
            use['who']
            for use in host.users_of(kind, account[kind]) or ()
            if use['kind'] == 'nss' and use['who'].split(' ')[0] != name
        ),
    ]
    if others:
        yield Gate(
            'accounts-alone',
            host.name,
            'hard',
            'refused',
            f'{word} shares {account[kind]} with {", ".join(others)}',
            'their files can not be told apart: give one of them another '
            'number by hand first',
        )


def of_files(
    hosts: Sequence[Host], accounts: Mapping[str, Sequence[Account]]
) -> Iterator[Gate]:
    """Whether nobody else has the number by now that files still have."""
    for host in hosts:
        own = accounts[host.name]
        came = {(one.kind, one.now) for one in own if one.was != one.now}
        for one in own:
            # who came there in the same exchange left its files elsewhere
            if one.was == one.now or (one.kind, one.was) in came:
                continue
            others = [
                f'{use["kind"]} {use["who"]}'
                for use in host.users_of(one.kind, one.was) or ()
                if use['kind'] not in numbers.HARMLESS
            ]
            if others:
                yield Gate(
                    'accounts-alone',
                    host.name,
                    'hard',
                    'refused',
                    f'{one.kind} {one.was}, which files of {one.name} are '
                    f'said to have, is of {others[0]}',
                    'their files can not be told apart: give them away by '
                    'hand, or walk less: --root DIRECTORY',
                )


def _set_back(host: Host, kind: str, shall: int, name: str) -> Iterator[Gate]:
    """Lines with the old number that would give it to files again."""
    now = host.named(kind)[name][kind]
    lines = [
        use['who']
        for use in host.users_of(kind, now) or ()
        if use['kind'] in ('tmpfiles.d', 'sysusers.d')
    ]
    if lines:
        yield Gate(
            'nothing-sets-back',
            host.name,
            'soft',
            'refused',
            f'{kind} {now} of {name} stands in {lines[0]}',
            f'write {shall} or the name there: it is done at each boot',
        )
    if any(
        use['kind'] == 'dynamic-range'
        for use in host.users_of(kind, shall) or ()
    ):
        yield Gate(
            'number-lasts',
            host.name,
            'advice',
            'refused',
            f'{kind} {shall} is of the range from which systemd serves '
            'DynamicUser=',
            "Debian's own libvirt-qemu is, too; a service may get it while "
            'it is free',
        )


def _no_guest(host: Host, moved: Sequence[tuple[str, str]]) -> Iterator[Gate]:
    """Guests run as qemu and in kvm: these change under nobody's feet."""
    what = [
        f'{WORDS[kind]} {numbers.name_on(host, kind, role)}'
        for kind, role in moved
        if role in ('qemu', 'kvm')
    ]
    number = numbers.number_on(host, 'uid', 'qemu')
    if not what or number is None:
        return
    running = [
        use['who']
        for use in host.users_of('uid', number) or ()
        if use['kind'] == 'process'
    ]
    if running:
        yield Gate(
            'no-guest-runs',
            host.name,
            'hard',
            'refused',
            f'{", ".join(what)} is in use by {running[0]}',
            'move or stop the guests of the host first',
        )


def of_roots(
    found: Facts, hosts: Sequence[str], roots: Sequence[str]
) -> Iterator[Gate]:
    """Whether a walk can begin there, before anything is stopped for it.

    :param hosts: on which something is changed
    """
    for name in hosts:
        for root, why in sorted(found.unfit.get(name, {}).items()):
            if root in roots:
                yield Gate(
                    'roots-there',
                    name,
                    'hard',
                    'refused',
                    f'--root {root}: {why}',
                    'give a directory that each of the hosts has, or do this '
                    'host for itself',
                )


def of_shares(
    found: Facts,
    accounts: Mapping[str, Sequence[Account]],
    meant: Mapping[str, str],
) -> Iterator[Gate]:
    """Whether what hosts share can be changed, and means one thing.

    :param meant: directory -> the host whose numbers its files have
    """
    for name, why in found.unshared.items():
        yield Gate(
            'shares-known',
            name,
            'hard',
            'unknown',
            f'what it shares is not known: {why}',
            'mend what is named',
        )
    for share in found.shares:
        place = share.places[0]
        names = sorted({one.host for one in share.places})
        own = {name: accounts[name] for name in names}
        if not any(any(numbers.pairs(a).values()) for a in own.values()):
            continue
        if not any(one.path in meant for one in share.places):
            for seen, remedy in _ambiguous(found, own):
                yield Gate(
                    'numbers-unambiguous',
                    place.path,
                    'hard',
                    'refused',
                    seen,
                    f'{remedy}; or say as on which host they are: '
                    f'--meant {place.path}=HOST',
                )
        if all(one.squashed for one in share.places):
            yield Gate(
                'root-is-root',
                place.path,
                'hard',
                'refused',
                f'its server makes nobody of root ({place.source})',
                'name a host that it trusts as well, or do it on the server',
            )


def _ambiguous(
    found: Facts, own: Mapping[str, Sequence[Account]]
) -> Iterator[tuple[str, str]]:
    """What was seen, and what to do."""
    for kind, number, shall in numbers.clashes(own):
        yield (
            f'{kind} {number} means '
            + ', and '.join(
                f'{" and ".join(who)} (to be {new})'
                for new, who in sorted(shall.items())
            ),
            'give these files away by hand, or keep the numbers that they '
            'have',
        )
    yield from _strangers(found, own)


def _strangers(
    found: Facts, own: Mapping[str, Sequence[Account]]
) -> Iterator[tuple[str, str]]:
    """Old numbers that somebody else has on a host with the same files."""
    old = {
        (one.kind, one.was)
        for accounts in own.values()
        for one in accounts
        if one.was != one.shall
    }
    for host in found.known:
        if host.name not in own:
            continue
        names = {
            (kind, name)
            for kind, role in numbers.roles()
            for name in numbers.ROLES[kind][role]
        }
        for kind, number in sorted(old):
            for use in host.users_of(kind, number) or ():
                mine = use['kind'] in ('passwd', 'group')
                if mine and (kind, use['who']) not in names:
                    yield (
                        f'{kind} {number} is of {use["who"]} on {host.name}, '
                        'which has the same files',
                        'find out whose they are, and give them away by hand',
                    )


def of_services(served: Sequence[Served]) -> Iterator[Gate]:
    """Whether each host can be claimed, so that no new server comes."""
    reasons = {one.why_not for one in served}
    if len(reasons) == 1 and '' not in reasons:
        # the databases don't answer: nothing of any one host
        yield _not_claimable('', served[0].why_not)
        return
    for one in served:
        if one.why_not:
            yield _not_claimable(one.host, one.why_not)
        elif one.holder:
            yield Gate(
                'host-unclaimed',
                one.host,
                'hard',
                'refused',
                f'claimed: {one.holder}',
                ways_on('go on with that run'),
            )


def _not_claimable(host: str, why: str) -> Gate:
    return Gate(
        'host-claimable',
        host,
        'soft',
        'unknown',
        f'nova-compute can not be disabled: {why}',
        'make sure that nobody starts or moves a server there meanwhile',
    )
