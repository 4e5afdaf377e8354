# SPDX-License-Identifier: Apache-2.0

"""``guest set``: where a console listens, and DHCPSERVER, in a guest's XML.

The guide's two changes of ``libvirt.xml``, in the XML that libvirt keeps, in
the guest that runs where libvirt can, and in the file where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import ipaddress
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.cloud.records import Server
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures import (
    check_guests,
    Procedure,
    reached,
    show_guest,
)
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.show_guest import Guest, VNC

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'guest-set'
#: The word for the address that nova.conf of the host has.
HOST = 'host'
_PLACES = ('config', 'live', 'file')


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants.

    :ivar guest: its UUID, or the name of its domain
    :ivar vnc: the address that its console shall listen on, ``host`` for
        what nova.conf of the host says; None: leave it
    :ivar dhcp: MAC -> DHCPSERVER of its interface; '' for all that have one
    """

    guest: str
    host: str
    vnc: str | None = None
    dhcp: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of it.

    :ivar there: the host, with the agent's ``guests show``
    :ivar server: as nova has it, None where it doesn't
    """

    there: Reached
    server: Server | None = None

    @property
    def said(self) -> Mapping[str, Any]:
        return {} if self.there.problem else self.there.said[0]

    @property
    def guest(self) -> Guest | None:
        said = self.said.get('guest')
        return None if said is None else Guest.of(said)


def address(text: str) -> str:
    """An address as libvirt has it.

    :raises UsageError: it is none
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(
            f'{text!r} is no IP address, such as 10.0.0.11 or fd00::11'
        ) from None


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask the host and the databases, and decide.

    :raises ConfigError: no host can be reached
    """
    there = show_guest.ask(cloud, request.host, request.guest, request.vnc)
    found = Facts(there)
    if found.guest is not None:
        uuid = found.guest.uuid
        servers, _gone, _why = check_guests.read_nova(cloud, (), [uuid])
        found = dataclasses.replace(found, server=servers.get(uuid))
    return decide(request, found, cloud.conf.fleet.home, clock.now())


def decide(request: Request, found: Facts, home: str, now: str = '') -> Plan:
    """The plan: one guest, each value as it is and as it shall be."""
    gates = [*reached.gates([found.there])]
    steps: tuple[Step, ...] = ()
    notes: list[str] = []
    one = found.guest
    if one is not None:
        gates += _gates(request, found, one)
        edits = _edits(_wanted(request, found, one), one)
        if edits:
            steps = (
                Step(
                    'set',
                    'change the XML of the guest',
                    (_item(request, found, one, edits, home),),
                ),
            )
        else:
            notes.append('It is so already: there is nothing to do.')
        notes += _notes(request, found, one)
    elif not found.there.problem:
        gates.append(_no_guest(request))
    return Plan(
        procedure=NAME,
        title=f'set guest {one.uuid if one else request.guest} on '
        f'{request.host}',
        arguments=_arguments(request, found),
        steps=steps,
        gates=tuple(gates),
        notes=tuple(notes),
        created_at=now,
    )


def _arguments(request: Request, found: Facts) -> dict[str, Any]:
    """With the address that nova.conf has: it is what is agreed to."""
    said = {**dataclasses.asdict(request), 'dhcp': dict(request.dhcp)}
    if request.vnc and found.said:
        said['vnc'] = _listen(request, found) or request.vnc
    return said


def _item(
    request: Request,
    found: Facts,
    one: Guest,
    edits: Sequence[Sequence[str]],
    home: str,
) -> Item:
    return Item(
        f'set-guest:{request.host}:{one.uuid}',
        'set-guest',
        f'guest:{request.host}:{one.uuid}',
        (found.server and found.server.name) or one.name,
        {
            'host': request.host,
            'machine_id': found.there.machine_id,
            'home': home,
            'uuid': one.uuid,
            'edits': [list(edit) for edit in edits],
        },
    )


def _listen(request: Request, found: Facts) -> str | None:
    """The address that its console shall have; None where none is known."""
    if request.vnc == HOST:
        said: str | None = found.said['listen']
        return said
    return request.vnc


def _wanted(request: Request, found: Facts, one: Guest) -> dict[str, str]:
    """What -> the value that it shall have."""
    wanted = {}
    listen = _listen(request, found)
    if listen:
        wanted[VNC] = listen
    for mac, server in request.dhcp.items():
        for what in [mac] if mac else one.servers:
            wanted[what] = server
    return wanted


def _edits(
    wanted: Mapping[str, str], one: Guest
) -> list[tuple[str, str, str, str]]:
    """Place, what, as it is, as it shall be, of all that differ."""
    edits = []
    for place in _PLACES:
        values: Mapping[str, str] = getattr(one, place) or {}
        for what, shall in wanted.items():
            # libvirt can't change the address of a console that is open
            if what == VNC and place == 'live':
                continue
            was = values.get(what)
            # what an old file says twice and differently is left alone
            if was and was != shall and ', ' not in was:
                edits.append((place, what, was, shall))
    return edits


def _no_guest(request: Request) -> Gate:
    return Gate(
        'guest-there',
        request.host,
        'hard',
        'refused',
        f'it has no guest {request.guest}',
        'those that it has:\n' + program.call(f'guest list {request.host}'),
    )


def _gates(request: Request, found: Facts, one: Guest) -> Iterator[Gate]:
    if not one.persistent:
        yield Gate(
            'guest-there',
            request.host,
            'hard',
            'refused',
            f'{one.name} is gone when it ends: nothing of it is kept that '
            'could be changed',
            'whoever starts it has its XML',
        )
    if not one.nova:
        yield Gate(
            'guest-of-nova',
            request.host,
            'hard',
            'refused',
            'nova did not make it',
            'what others made is theirs to change',
        )
    if found.server is not None and found.server.task_state:
        yield Gate(
            'no-task',
            found.server.name or found.server.uuid,
            'soft',
            'refused',
            f'its task is {found.server.task_state}: nova may write its XML '
            'anew meanwhile',
            'wait until it is done',
        )
    if request.vnc is not None:
        yield from _of_console(request, found, one)
    for mac in request.dhcp:
        yield from _of_servers(request, one, mac)


def _of_console(request: Request, found: Facts, one: Guest) -> Iterator[Gate]:
    listen = _listen(request, found)
    has = one.config.get(VNC, '')
    if not has or ', ' in has:
        yield Gate(
            'console-known',
            one.name,
            'hard',
            'refused',
            f'its console listens on {has}'
            if has
            else 'its XML has no address for VNC: it has no such console, or '
            'vnc_listen of qemu.conf decides',
            'set [vnc] server_listen in nova.conf of the host; a hard reboot '
            'takes it',
        )
    if listen is None or not _is_address(listen):
        yield Gate(
            'console-known',
            request.host,
            'hard',
            'unknown',
            f'{found.said["listen_from"]}: '
            + (
                f'{listen} is no address'
                if listen
                else 'what is meant is not known'
            ),
            'name the address: --vnc-listen ADDRESS',
        )
    elif listen == has:
        # nothing is changed
        return
    elif show_guest.is_open(listen):
        yield Gate(
            'console-closed',
            request.host,
            'soft',
            'refused',
            f'{listen} opens the console on every interface of the host: '
            'whoever reaches one of them reaches it',
            'name an address of the network that the console proxy is on; '
            'that is what [vnc] server_listen should say, too',
        )
    elif not found.said['bindable']:
        yield Gate(
            'console-address',
            request.host,
            'soft',
            'refused',
            f'{request.host} does not have the address {listen}: the guest '
            'would not start',
            'name an address of the host',
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _of_servers(request: Request, one: Guest, mac: str) -> Iterator[Gate]:
    seen = {what: one.config.get(what, '') for what in one.servers}
    wanted = [mac] if mac else list(seen)
    several = len({value for value in seen.values() if value}) > 1
    if not wanted or not all(seen.get(what) for what in wanted):
        yield Gate(
            'dhcp-parameter',
            mac or one.name,
            'hard',
            'refused',
            'no filter of it has a DHCPSERVER'
            if not mac
            else 'its filter has no DHCPSERVER',
            'only nova-network had it; with neutron the agent of the host '
            'lets DHCP through, and nothing is to be set',
        )
    elif any(', ' in seen[what] for what in wanted):
        told = ', '.join(f'{what}: {seen[what]}' for what in wanted)
        yield Gate(
            'dhcp-parameter',
            mac or one.name,
            'hard',
            'refused',
            f'one interface has several, as nova never made it: {told}',
            'which of them goes is yours to say; on the host, for the next '
            f'power cycle:\nvirsh edit {one.uuid}',
        )
    elif several and not mac:
        told = ', '.join(f'{what} {value}' for what, value in seen.items())
        yield Gate(
            'dhcp-parameter',
            mac or one.name,
            'hard',
            'refused',
            f'its interfaces have several: {told}',
            'say which: --dhcpserver MAC=ADDRESS',
        )


def _notes(request: Request, found: Facts, one: Guest) -> Iterator[str]:
    listen = _listen(request, found) if request.vnc else None
    now = (one.live or {}).get(VNC)
    if listen and now and now != listen:
        yield (
            'libvirt can not change the address of a console that is open: '
            f'until a power cycle it goes on listening on {now}. A soft '
            'reboot by nova, or virsh shutdown and start on the host, takes '
            'the XML that is set'
        )
    nova = found.said.get('listen')
    if listen and nova != listen:
        yield (
            'A hard reboot, or a start by nova, writes the XML anew: set '
            f'[vnc] server_listen = {listen} in nova.conf of {request.host}, '
            f'where {found.said["listen_from"]} says {nova or "nothing"}'
        )
    if request.dhcp:
        yield (
            'A hard reboot, or a start by nova, writes the XML anew, with the '
            'DHCP server that nova-network has'
        )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; of one that was begun, that it answers."""
    request = Request(**plan.arguments)
    if touched:
        return tuple(reached.gates(reached.read(cloud, [request.host])))
    return make_plan(cloud, request).gates


PROCEDURE = Procedure(NAME, make_plan, check)
