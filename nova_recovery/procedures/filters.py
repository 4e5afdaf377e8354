# SPDX-License-Identifier: Apache-2.0

"""``guest filter list``: libvirt's filters of guests, and what they make.

Nova had filters of its own until Train (nova/virt/libvirt/firewall.py); with
neutron its agents filter, and libvirt has none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
import re
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Nova's own, each with the filters that it is made of; None: of rules.
STOCK: Mapping[str, tuple[str, ...] | None] = {
    'nova-no-nd-reflection': None,
    'nova-allow-dhcp-server': None,
    'nova-nodhcp': (
        'no-mac-spoofing',
        'no-ip-spoofing',
        'no-arp-spoofing',
        'nova-no-nd-reflection',
    ),
    'nova-base': (
        'no-mac-spoofing',
        'no-ip-spoofing',
        'no-arp-spoofing',
        'nova-no-nd-reflection',
        'allow-dhcp-server',
    ),
    'nova-vpn': ('allow-dhcp-server',),
}
#: One that is of an interface of a guest: its domain, and its MAC.
INSTANCE = re.compile(r'nova-instance-(.+)-([0-9a-f]{12})$')

_COLUMNS: Columns = (
    *findings.OF_HOST,
    ('Filter', lambda one: one.label),
    ('UUID', findings.more('uuid')),
    ('Guests', findings.more('guests')),
    ('Rules', findings.more('rules')),
    ('Seen', lambda one: one.cause),
    ('To do', lambda one: one.fix or one.expected),
)

#: What is to be done where neutron filters, on a host and for a port of it.
NEUTRON = (
    'there: systemctl restart neutron-openvswitch-agent (or that of your '
    'driver; ovn-controller)'
)


@dataclasses.dataclass(frozen=True)
class Use:
    """An interface of a guest, as it runs or as it is defined.

    :ivar target: its device while it runs
    """

    server: str
    domain: str
    nova: bool
    active: bool
    mac: str
    target: str
    filter: str
    parameters: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Filters:
    """The filters of one host that answered.

    :ivar uuids: name -> UUID of those that are defined
    :ivar refs: name -> those that it is made of
    :ivar uses: of all interfaces of its guests
    :ivar rules: device -> how many rules ebtables has; None: not known
    """

    uuids: Mapping[str, str]
    refs: Mapping[str, Sequence[str]]
    uses: Sequence[Use]
    rules: Mapping[str, int] | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Filters | None:
        """What the agent's ``filters list`` says; None: libvirt doesn't."""
        if said['filters'] is None:
            return None
        return cls(
            {row['name']: row['uuid'] for row in said['filters']},
            {row['name']: row['refs'] for row in said['filters']},
            [Use(**use) for use in said['uses']],
            said['rules'],
        )

    def needed(self) -> dict[str, list[Use]]:
        """Filter -> the interfaces that it is needed for, also by others."""
        found: dict[str, list[Use]] = {}
        for use in self.uses:
            if use.filter:
                self._need(use.filter, use, found)
        return found

    def _need(self, name: str, use: Use, found: dict[str, list[Use]]) -> None:
        uses = found.setdefault(name, [])
        if use not in uses:
            uses.append(use)
            for other in self.refs.get(name) or parts(name, use):
                self._need(other, use, found)

    def missing(self) -> dict[str, list[Use]]:
        """Those that are needed and not defined."""
        return {
            name: uses
            for name, uses in self.needed().items()
            if name not in self.uuids
        }

    def without_rules(self, use: Use) -> bool:
        """Whether it runs behind a filter that nobody carries out."""
        return bool(
            self.rules is not None
            and use.active
            and use.filter
            and use.target
            and not self.rules.get(use.target)
        )


def base(use: Use | None) -> str:
    """Nova's choice: whether there is a DHCP server for the interface.

    Whoever defines the one in a domain that names none would have the domain
    not start: allow-dhcp-server has a variable that must be given.
    """
    has = use is not None and 'DHCPSERVER' in use.parameters
    return 'nova-base' if has else 'nova-nodhcp'


def parts(name: str, use: Use | None) -> Sequence[str]:
    """What nova makes a filter of.

    :param use: the interface that it is needed for
    """
    if INSTANCE.match(name):
        return (base(use),)
    return STOCK.get(name) or ()


def ours(name: str) -> bool:
    """Whether nova made a filter of that name."""
    return name in STOCK or bool(INSTANCE.match(name))


def assess(cloud: Cloud, names: Collection[str]) -> Assessment:
    """Ask hosts, all of the cells where none is named."""
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = reached.read(cloud, names, ('filters list', {}))
    return judge(hosts, silent)


def judge(
    hosts: Sequence[Reached], silent: tuple[str, ...] = ()
) -> Assessment:
    """A finding for each filter of nova, and for each that is missing."""
    made = [one for host in hosts for one in _of_host(host)]
    counts = Assessment(None, tuple(made), ()).counts
    told = findings.counted(
        {name: n for name, n in counts.items() if name != findings.GOOD}
    )
    filters = sum('uuid' in one.more for one in made)
    line = (
        f'{wording.count(filters, "filter")} on '
        f'{wording.count(len(hosts), "host")}: {told or "nothing is wrong"}.'
    )
    return Assessment(hosts, tuple(made), _COLUMNS, (line,), silent=silent)


def _of_host(host: Reached) -> Iterator[Finding]:
    if host.problem:
        yield dataclasses.replace(reached.unknown(host), label='')
        return
    found = Filters.of(host.said[0])
    if found is None:
        yield _finding(
            'LIBVIRT-SILENT',
            findings.UNKNOWN,
            host,
            '',
            f'libvirt does not tell: {host.said[0]["why"]}',
        )
        return
    needed = found.needed()
    if not needed and not any(map(ours, found.uuids)):
        yield _finding(
            'FILTER-NONE',
            findings.NOTE,
            host,
            '',
            'no guest refers to a filter of libvirt: neutron filters',
            expected=NEUTRON,
        )
    for name in sorted({*needed, *filter(ours, found.uuids)}):
        # those of libvirt are told of where they are missing
        if ours(name) or name not in found.uuids:
            yield _of_filter(host, found, name, needed.get(name, []))
        elif any(use.filter == name for use in needed[name]):
            yield _of_filter(host, found, name, needed[name])


def _of_filter(
    host: Reached, found: Filters, name: str, uses: Sequence[Use]
) -> Finding:
    code, severity, seen, fix, expected = _verdict(host, found, name, uses)
    rules = found.rules or {}
    direct = [use for use in uses if use.filter == name and use.active]
    return _finding(
        code,
        severity,
        host,
        name,
        seen,
        fix,
        expected,
        uuid=found.uuids.get(name, ''),
        guests=', '.join(dict.fromkeys(use.domain for use in uses)),
        rules=sum(rules.get(use.target, 0) for use in direct)
        if direct and found.rules is not None
        else '',
    )


def _verdict(
    host: Reached, found: Filters, name: str, uses: Sequence[Use]
) -> tuple[str, str, str, str, str]:
    """Code, severity, what was seen, and what mends it."""
    if name not in found.uuids:
        off = [use.domain for use in uses if not use.active]
        seen = (
            f'not defined: {", ".join(dict.fromkeys(off))} can not be started'
            if off
            else 'not defined, and guests that run refer to it'
        )
        fix = program.call(f'guest filter rebuild --host {host.name}')
        own = f'there: {libvirt_s(name)}'
        if ours(name):
            return 'FILTER-MISSING', findings.DANGER, seen, fix, ''
        return 'FILTER-MISSING', findings.DANGER, seen, '', own
    bare = [use for use in uses if use.filter == name]
    if any(map(found.without_rules, bare)):
        return (
            'FILTER-RULES',
            findings.DANGER,
            'a guest runs behind it, and ebtables has no rule of it',
            '',
            'there: systemctl reload libvirtd (virtnwfilterd), which makes '
            'the rules anew',
        )
    if not uses and INSTANCE.match(name):
        return (
            'FILTER-LEFT',
            findings.NOTE,
            'no guest refers to it',
            '',
            f'there: virsh nwfilter-undefine {name}',
        )
    return 'FILTER-GOOD', findings.GOOD, 'defined', '', ''


def libvirt_s(name: str) -> str:
    """How one comes back that nova did not make."""
    return (
        f'virsh nwfilter-define /usr/share/libvirt/nwfilter/{name}.xml '
        '(package libvirt-daemon-config-nwfilter)'
    )


def _finding(
    code: str,
    severity: str,
    host: Reached,
    name: str,
    seen: str,
    fix: str = '',
    expected: str = '',
    **more: Any,
) -> Finding:
    return Finding(
        code,
        severity,
        f'filter:{host.name}:{name}',
        seen,
        expected=expected,
        fix=fix,
        label=name,
        host=host.name,
        more=more,
    )
