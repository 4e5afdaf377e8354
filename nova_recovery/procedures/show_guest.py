# SPDX-License-Identifier: Apache-2.0

"""``guest show``: what the XML of a guest says of the guide's two things.

As it runs, as its next power cycle makes it, as a hard reboot by nova will,
and as the ``libvirt.xml`` of an old nova has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import ipaddress
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.exceptions import ChangeFailed, NotFound
from nova_recovery.procedures import reached, Table
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: What the console is called among the values of the agent; an interface is
#: called by its MAC.
VNC = 'vnc'
_COLUMNS = (
    'Setting',
    'Runs with',
    'After a power cycle',
    'libvirt.xml',
    'After a hard reboot',
)


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest as its host has it.

    :ivar state: virsh's word
    :ivar nova: nova made it
    :ivar persistent: it stays defined when it ends
    :ivar config: what -> value in the XML of its next start
    :ivar live: the same as it runs; None where it does not
    :ivar file: the same in its libvirt.xml; None where it has none
    :ivar path: of that file
    :ivar xml: place -> all of it, where that was asked for
    """

    uuid: str
    name: str
    state: str
    nova: bool
    persistent: bool
    config: Mapping[str, str]
    live: Mapping[str, str] | None
    file: Mapping[str, str] | None
    path: str | None
    xml: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Guest:
        """What the agent's ``guests show`` has as ``guest``."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{n: v for n, v in said.items() if n in names})

    @property
    def servers(self) -> list[str]:
        """The MACs of the interfaces that have a DHCPSERVER anywhere."""
        places = (self.config, self.live or {}, self.file or {})
        return sorted(
            {
                what
                for place in places
                for what, value in place.items()
                if what != VNC and value
            }
        )


def ask(
    cloud: Cloud, host: str, word: str, listen: str | None = None
) -> Reached:
    """Ask a host for one guest.

    :param word: its UUID or the name of its domain
    :param listen: an address that its console may get, or ``host``
    """
    words = {'server': word, 'listen': listen}
    (found,) = reached.read(cloud, [host], ('guests show', words))
    return found


def is_open(address: str) -> bool:
    """Whether what listens there does so on every interface."""
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def show(cloud: Cloud, host: str, word: str) -> tuple[Table, list[str]]:
    """A row for each setting, and what there is to say of them.

    :raises ChangeFailed: the host does not answer
    :raises NotFound: it has no such guest
    """
    found = ask(cloud, host, word)
    if found.problem:
        raise ChangeFailed(f'{host}: {found.problem}')
    said = found.said[0]
    if said['guest'] is None:
        raise NotFound(
            f'{host} has no guest {word}. Those that it has:\n'
            + program.call(f'guest list {host}')
        )
    one = Guest.of(said['guest'])
    rows = list(_rows(one, said['listen']))
    return (_COLUMNS, rows), list(_lines(host, one, said))


def _rows(one: Guest, listen: str | None) -> Iterator[tuple[Any, ...]]:
    live, file = one.live or {}, one.file or {}
    yield (
        'VNC listens on',
        live.get(VNC, ''),
        one.config.get(VNC, ''),
        file.get(VNC, ''),
        (listen or 'not known') if one.nova else '',
    )
    for mac in one.servers:
        yield (
            f'DHCPSERVER of {mac}',
            live.get(mac, ''),
            one.config.get(mac, ''),
            file.get(mac, ''),
            'as nova-network has it' if one.nova else '',
        )


def _lines(host: str, one: Guest, said: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f'{one.name} ({one.uuid}) on {host} is {one.state}'
        + ('.' if one.persistent else ', and is gone when it ends.')
    )
    for what, now in (one.live or {}).items():
        later = one.config.get(what, '')
        if now != later:
            name = 'VNC' if what == VNC else f'DHCPSERVER of {what}'
            yield f'A power cycle changes {name}: {now} -> {later}.'
    if not one.servers:
        yield (
            'It has no DHCPSERVER: only the filters of nova-network, which '
            'Ussuri removed,\nhad one.'
        )
    if is_open((one.live or one.config).get(VNC, '')):
        yield (
            f'Its console listens on every interface of {host}: whoever '
            'reaches one of them\nreaches the console.'
        )
    if one.nova:
        yield from _of_nova(host, one, said)


def _of_nova(host: str, one: Guest, said: Mapping[str, Any]) -> Iterator[str]:
    """What nova makes of it, and when."""
    listen = said['listen']
    yield (
        'Nova writes the XML anew at a hard reboot and at a start; a soft '
        'reboot takes\nit as it is. What decides where VNC listens:\n'
        f'{said["listen_from"]}'
        + (f', which is {listen}' if listen else '; what it is is not known')
    )
    if listen and one.config.get(VNC) not in ('', listen):
        yield 'The XML has another address. To set it so:'
        yield program.call(f'guest set {one.uuid} --host {host} --vnc-listen')
