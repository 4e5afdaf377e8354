# SPDX-License-Identifier: Apache-2.0

"""``guest filter rebuild``: filters of nova are defined again.

As nova defined them (nova/virt/libvirt/firewall.py of Train, the last one
that did): the stock ones, and those of instances from the domains that refer
to them. libvirt takes no filter of a name that it has unless the UUID is the
same, so that stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING
import uuid as uuid_module
from xml.sax import saxutils  # nosec B406

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.procedures import filters, Procedure, reached
from nova_recovery.procedures.filters import Filters, STOCK, Use
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'filter-rebuild'

#: The rules of those that are not made of others, and their chain.
_RULES = {
    'nova-no-nd-reflection': (
        'ipv6',
        "<rule action='drop' direction='in'>"
        "<mac dstmacaddr='33:33:00:00:00:00' dstmacmask='ff:ff:00:00:00:00' "
        "srcmacaddr='$MAC'/></rule>",
    ),
    'nova-allow-dhcp-server': (
        'ipv4',
        "<rule action='accept' direction='out' priority='100'>"
        "<udp srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' "
        "srcportstart='68' dstportstart='67'/></rule>"
        "<rule action='accept' direction='in' priority='100'>"
        "<udp srcipaddr='$DHCPSERVER' srcportstart='67' dstportstart='68'/>"
        '</rule>',
    ),
}


@dataclasses.dataclass(frozen=True)
class Request:
    """Which filters of a host; none: all of nova's that are missing."""

    host: str
    names: tuple[str, ...] = ()


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask the host and decide.

    :raises ConfigError: no host can be reached
    """
    (there,) = reached.read(cloud, [request.host], ('filters list', {}))
    return decide(request, there, cloud.conf.fleet.home, clock.now())


def decide(request: Request, there: Reached, home: str, now: str = '') -> Plan:
    """The plan: what is missing, or was named, each made of what is there."""
    gates = [*reached.gates([there])]
    steps: tuple[Step, ...] = ()
    notes: list[str] = []
    if not there.problem:
        found = Filters.of(there.said[0])
        if found is None:
            gates.append(_silent(there))
        else:
            gates += _gates(request, found)
            wanted = [n for n in _wanted(request, found) if filters.ours(n)]
            items = [
                _item(there, found, name, home)
                for name in sorted(wanted, key=_after_what_it_is_made_of)
            ]
            if items:
                steps = (Step('define', 'define the filters', tuple(items)),)
            else:
                notes.append('None is missing: there is nothing to do.')
            notes += _notes(found, wanted)
    return Plan(
        procedure=NAME,
        title=f'define filters of nova on {request.host}',
        arguments={'host': request.host, 'names': list(request.names)},
        steps=steps,
        gates=tuple(gates),
        notes=tuple(notes),
        created_at=now,
    )


def _after_what_it_is_made_of(name: str) -> tuple[int, str]:
    return (list(STOCK).index(name) if name in STOCK else len(STOCK), name)


def _silent(there: Reached) -> Gate:
    return Gate(
        'filters-known',
        there.name,
        'hard',
        'unknown',
        f'libvirt does not tell: {there.said[0]["why"]}',
        'there: is libvirtd (or virtnwfilterd) running?',
    )


def _wanted(request: Request, found: Filters) -> list[str]:
    """Those that are defined, with what they are made of and is missing."""
    wanted = dict.fromkeys(request.names or found.missing())
    for name in list(wanted):
        for other in _parts(found, name):
            if other in STOCK and other not in found.uuids:
                wanted[other] = None
                for more in STOCK[other] or ():
                    if more in STOCK and more not in found.uuids:
                        wanted[more] = None
    return list(wanted)


def _parts(found: Filters, name: str) -> Sequence[str]:
    """What it will be made of."""
    return filters.parts(name, _use(found, name))


def _use(found: Filters, name: str) -> Use | None:
    """The interface that it is of."""
    return next((use for use in found.uses if use.filter == name), None)


def xml(found: Filters, name: str, uuid: str) -> str:
    """A filter as nova defined it, in one line."""
    chain, inside = _RULES.get(name, ('root', ''))
    for part in _parts(found, name):
        inside += f'<filterref filter={saxutils.quoteattr(part)}/>'
    return (
        f'<filter name={saxutils.quoteattr(name)} chain="{chain}">'
        f'<uuid>{uuid}</uuid>{inside}</filter>'
    )


def _item(there: Reached, found: Filters, name: str, home: str) -> Item:
    known = found.uuids.get(name)
    # the same state has the same plan, which somebody may have approved
    made = uuid_module.uuid5(
        uuid_module.NAMESPACE_OID, f'{there.machine_id}/{name}'
    )
    return Item(
        f'define-filter:{there.name}:{name}',
        'define-filter',
        f'filter:{there.name}:{name}',
        name,
        {
            'host': there.name,
            'machine_id': there.machine_id,
            'home': home,
            'name': name,
            'uuid': known or str(made),
            'there': known is not None,
            'xml': xml(found, name, known or str(made)),
            'guests': sorted(
                {use.domain for use in found.needed().get(name, ())}
            ),
        },
        # libvirt lets none go that another one refers to
        tuple(
            f'filter:{there.name}:{part}'
            for part in _parts(found, name)
            if filters.ours(part)
        ),
    )


def _gates(request: Request, found: Filters) -> Iterator[Gate]:
    for name in request.names:
        if not filters.ours(name) and name not in found.missing():
            yield _unknown(request, name, 'nova has none of that name')
        elif filters.INSTANCE.match(name) and _use(found, name) is None:
            yield _unknown(request, name, 'no guest of the host refers to it')
    for name in found.missing():
        if not filters.ours(name):
            yield Gate(
                'filter-known',
                name,
                'advice',
                'refused',
                'it is missing, and nova did not make it',
                f'there: {filters.libvirt_s(name)}',
            )
    if not request.names and not found.needed():
        yield _neutron(request)


def _unknown(request: Request, name: str, why: str) -> Gate:
    return Gate(
        'filter-named',
        name,
        'hard',
        'refused',
        why,
        'those of the host:\n'
        + program.call(f'guest filter list {request.host}'),
    )


def _neutron(request: Request) -> Gate:
    """Nothing of libvirt's is missing where it filters nothing."""
    return Gate(
        'filters-of-libvirt',
        request.host,
        'hard',
        'refused',
        'no guest refers to a filter of libvirt: neutron filters here',
        f'have its agent make the rules anew; {filters.NEUTRON}\n'
        'a port that is down or binding_failed is bound once more:\n'
        'openstack port list --server SERVER\n'
        'openstack port unset --host PORT\n'
        f'openstack port set --host {request.host} PORT',
    )


def _notes(found: Filters, wanted: Sequence[str]) -> Iterator[str]:
    for name in wanted:
        if 'nova-nodhcp' in _parts(found, name):
            yield (
                f'{name} becomes one without a DHCP server: the domain names '
                'none, and libvirt learns the address of the guest. Nova '
                'writes it anew at a hard reboot'
            )
    bare = {use.domain for use in found.uses if found.without_rules(use)}
    if bare:
        yield (
            f'ebtables has no rule for {", ".join(sorted(bare))}, though its '
            'filter may be defined: there, systemctl reload libvirtd (or '
            'virtnwfilterd) makes the rules anew'
        )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; of one that was begun, that it answers."""
    said: Mapping[str, list[str]] = plan.arguments
    request = Request(plan.arguments['host'], tuple(said['names']))
    if touched:
        return tuple(reached.gates(reached.read(cloud, [request.host])))
    return make_plan(cloud, request).gates


PROCEDURE = Procedure(NAME, make_plan, check)
