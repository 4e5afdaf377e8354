# SPDX-License-Identifier: Apache-2.0

"""``host rules restore``: chains of packet filters, as they were saved.

Those that are named and no other; what neutron and its like make is theirs,
also the rules by which they come into a chain of the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import re
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import UsageError
from nova_recovery.host.agent import rules
from nova_recovery.host.agent.rules import chains as chains_module
from nova_recovery.procedures import Procedure, reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.rules import saved
from nova_recovery.procedures.rules.saved import Host, Saved

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'host-rules'
#: Seconds until a host takes back what nobody confirmed.
SECONDS = 60
#: Of what stands on the command line of the host, beside the agent.
_AT_MOST = 30_000
#: Where a rule goes on, of iptables and its kin, and of nft.
_TARGET = re.compile(r'(?:(?:^| )-[jg]|\b(?:jump|goto)) (\S+)')


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants.

    :ivar path: of the file
    :ivar chains: such as ``iptables:filter:INPUT``
    """

    hosts: tuple[str, ...]
    path: str
    chains: tuple[str, ...]


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the file, ask the hosts, and decide.

    :raises RecoveryError: the file can't be read
    :raises UsageError: it is too much for one call
    """
    known = saved.load(request.path)
    hosts = reached.read(cloud, request.hosts, ('rules list', {}))
    return decide(request, known, hosts, cloud.conf.fleet.home, clock.now())


def decide(
    request: Request,
    known: Saved,
    hosts: Sequence[Reached],
    home: str,
    now: str = '',
) -> Plan:
    """The plan: one host after the other, and no next one if one fails."""
    gates = [*reached.gates(hosts)]
    items: list[Item] = []
    notes = [
        'A host takes it back by itself unless it is reached by a new '
        f'connection within {SECONDS} s.',
        'What the host loads at its next boot is not changed by this.',
    ]
    for host in hosts:
        before = known.hosts.get(host.name)
        if host.problem:
            continue
        gates += _gates(request, known, before, host)
        if before is None:
            continue
        wanted = _wanted(request, before, saved.of(host))
        if wanted:
            items.append(_item(host, wanted, home))
        else:
            notes.append(f'{host.name}: nothing is to be restored')
    step = Step(
        'restore', 'restore chains', tuple(items), failures=0, at_a_time=1
    )
    return Plan(
        procedure=NAME,
        title=f'restore rules of {", ".join(request.hosts)}, as saved at '
        f'{known.saved_at}',
        arguments={
            'hosts': list(request.hosts),
            'path': request.path,
            'chains': list(request.chains),
        },
        steps=(step,) if items else (),
        gates=tuple(gates),
        notes=tuple(notes),
        created_at=now,
    )


def _wanted(request: Request, before: Host, now: Host) -> rules.Wanted:
    """Name -> as it is now and as it was, of those that differ."""
    found = {}
    for name in request.chains:
        was = chains_module.of(dict(before.chains), name)
        there = chains_module.of(dict(now.chains), name)
        if chains_module.own(was) != chains_module.own(there):
            found[name] = (there, was)
    return found


def _item(host: Reached, wanted: rules.Wanted, home: str) -> Item:
    """:raises UsageError: it is too long for the command line of a host"""
    length = len(rules.pack(wanted))
    if length > _AT_MOST:
        raise UsageError(
            f'{host.name}: {length} bytes of rules are more than one call '
            f'carries ({_AT_MOST}): name fewer chains'
        )
    data: dict[str, Any] = {
        'host': host.name,
        'machine_id': host.machine_id,
        'home': home,
        'seconds': SECONDS,
        'chains': {name: list(some) for name, some in wanted.items()},
    }
    return Item(
        f'restore-rules:{host.name}',
        'restore-rules',
        f'rules:{host.name}',
        host.name,
        data,
    )


def _gates(
    request: Request, known: Saved, before: Host | None, host: Reached
) -> Iterator[Gate]:
    now = saved.of(host)
    if before is None or before.machine_id != now.machine_id:
        yield Gate(
            'rules-saved',
            host.name,
            'hard',
            'refused',
            f'{known.path} has nothing of it'
            if before is None
            else f'{known.path} has those of another machine',
            'name a file in which it is; what is there now is kept by:\n'
            + program.call(f'host rules save {host.name} --file NEW'),
        )
        return
    for name in request.chains:
        yield from _of_chain(request, before, now, host, name)


def _of_chain(
    request: Request, before: Host, now: Host, host: Reached, name: str
) -> Iterator[Gate]:
    why = before.lacks(name) or now.lacks(name)
    was = chains_module.of(dict(before.chains), name)
    there = chains_module.of(dict(now.chains), name)
    look = program.call(f'host rules diff {host.name} --file FILE')
    if chains_module.others(name):
        yield Gate(
            'rules-own',
            host.name,
            'hard',
            'refused',
            f'{name} is made and changed by others',
            'leave it out; what makes it brings it back: the agent of '
            'neutron, libvirt, docker or kube, when it is restarted',
        )
    elif why:
        yield Gate(
            'rules-saved',
            host.name,
            'hard',
            'unknown',
            f'{name}: {why}',
            f'look again:\n{look}',
        )
    elif was is None and there is None:
        yield Gate(
            'rules-saved',
            host.name,
            'hard',
            'refused',
            f'{name} neither was there nor is',
            f'their names:\n{look}',
        )
    else:
        lacking = _lacking(request, before, now, name)
        if lacking:
            yield Gate(
                'rules-whole',
                host.name,
                'hard',
                'refused',
                f'{name} leads to {", ".join(lacking)}, not there now',
                'name what it leads to as well, with --chain',
            )


def _lacking(
    request: Request, before: Host, now: Host, name: str
) -> list[str]:
    """The chains that a restored one leads to, and that are not there."""
    table = name.rpartition(':')[0]
    was = chains_module.own(chains_module.of(dict(before.chains), name)) or []
    led = {
        f'{table}:{target}'
        for rule in was[1:]
        for target in _TARGET.findall(rule)
    }
    there = {*now.chains, *request.chains}
    return sorted(led & {*before.chains} - there)


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now.

    Of a host that was begun it is the change that compares what is there.
    """
    arguments = plan.arguments
    hosts = tuple(
        name for name in arguments['hosts'] if f'rules:{name}' not in touched
    )
    gates: tuple[Gate, ...] = ()
    if touched:
        begun = [name for name in arguments['hosts'] if name not in hosts]
        gates = tuple(
            reached.gates(reached.read(cloud, begun, ('rules list', {})))
        )
    if not hosts:
        return gates
    request = Request(hosts, arguments['path'], tuple(arguments['chains']))
    return (*gates, *make_plan(cloud, request).gates)


PROCEDURE = Procedure(NAME, make_plan, check)
