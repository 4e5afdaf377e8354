# SPDX-License-Identifier: Apache-2.0

"""L2 agents are alive, and ports bound as they were."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
import functools
from typing import Any

from nova_recovery import readiness
from nova_recovery.cloud.api.network import Port
from nova_recovery.compat import pairs
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import RecoveryError
from nova_recovery.readiness import bounded, common, Site
from nova_recovery.snapshot import apis as snapshot_apis
from nova_recovery.snapshot import format as format_module

LAYER = 'network'
_PATIENCE = 8.0

#: Ports of a host that are looked at: enough to see that binding works
#: there, in a time that a large cloud has.
SAMPLE = 100

#: What neutron says of a port that nobody plugs (plugins/ml2 of
#: neutron_lib: ``VIF_TYPE_UNBOUND``, ``VIF_TYPE_BINDING_FAILED``).
_BROKEN = frozenset({'', 'unbound', 'binding_failed'})

_RESTART = 'systemctl restart neutron-server  # or its web server'

#: An agent: id, host, binary, type, alive, admin_state_up.
Agent = Mapping[str, Any]


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*', 'bus/broker *', 'keystone/*')

    def rows(self, site: Site) -> Iterator[Finding]:
        connection = site.apis().connection
        columns = format_module.SECTIONS['agents'].columns
        try:
            now = [
                dict(pairs(columns, row))
                for row in snapshot_apis.agents(connection, _PATIENCE)
            ]
        except RecoveryError as error:
            yield Finding(
                LAYER,
                readiness.UNKNOWN,
                'neutron API',
                bounded.words(error),
                'it answers',
                _RESTART,
            )
            return
        before: list[Agent] | None = None
        bound: dict[str, tuple[str, str]] = {}
        with site.before() as snapshot:
            if snapshot is not None and snapshot.count('agents'):
                before = list(snapshot.rows('agents'))
        yield from agents(now, before, site)
        ports = _ports(site)
        with site.before() as snapshot:
            if snapshot is not None:
                # all at once: they are not sorted by host
                for row in snapshot.rows('ports'):
                    if row['host'] in ports:
                        bound[row['id']] = (row['host'], row['vif_type'])
        yield from bindings(ports, bound)


def agents(
    now: Iterable[Agent], before: Iterable[Agent] | None, site: Site
) -> Iterator[Finding]:
    """The agents of the hosts that matter.

    :param before: those of the snapshot; None: there is none, then every
        agent that is switched on has to be alive
    """
    alive: dict[str, Agent] = {}
    dead: dict[str, Agent] = {}
    for agent in now:
        if site.covers(agent['host']):
            (alive if agent['alive'] else dead)[_agent(agent)] = agent
    if before is None:
        wanted = {
            **alive,
            **{k: a for k, a in dead.items() if a['admin_state_up']},
        }
    else:
        wanted = {
            _agent(a): a
            for a in before
            if a['alive'] and site.covers(a['host'])
        }
    bad = [
        Finding(
            LAYER,
            readiness.NO_GO,
            f'{agent["binary"]} {agent["host"]}',
            'neutron hears nothing from it'
            if name in dead
            else 'neutron does not know it any more',
            'alive' if before is None else 'alive, as in the snapshot',
            f'systemctl start {agent["binary"]}  # on {agent["host"]}',
        )
        for name, agent in sorted(wanted.items())
        if name not in alive
    ]
    yield from common.on_one_line(
        bad,
        Finding(
            LAYER,
            readiness.GO,
            'agents',
            f'{len(wanted)} alive',
            'alive' if before is None else 'alive, as in the snapshot',
        ),
    )


def bindings(
    ports: Mapping[str, Collection[Port] | BaseException],
    before: Mapping[str, tuple[str, str]],
) -> Iterator[Finding]:
    """How the ports of each host are bound.

    :param ports: host -> its ports, or why they are not known
    :param before: port -> host and type of its binding in the snapshot
    """
    bad = []
    seen = 0
    for host, found in ports.items():
        if isinstance(found, BaseException):
            bad.append(
                _binding(
                    host, readiness.UNKNOWN, bounded.words(found), _RESTART
                )
            )
            continue
        seen += len(found)
        broken = {
            port.id: port.vif_type
            for port in found
            if port.vif_type in _BROKEN
            and before.get(port.id, ('', 'ovs'))[1] not in _BROKEN
        }
        other = {
            port.id: port.vif_type
            for port in found
            if port.vif_type not in _BROKEN
            and port.id in before
            and before[port.id][0] == host
            and before[port.id][1] not in (port.vif_type, *_BROKEN, None)
        }
        if broken or other:
            kinds = sorted({*broken.values(), *other.values()})
            first = sorted({**broken, **other})[0]
            bad.append(
                _binding(
                    host,
                    readiness.NO_GO,
                    f'{len(broken) + len(other)} ports are '
                    f'{", ".join(k or "unbound" for k in kinds)}, such as '
                    f'{first}',
                    f'restart the L2 agent of {host}, then for each: '
                    f'openstack port set --host {host} PORT',
                )
            )
    yield from common.on_one_line(
        bad,
        _binding(
            'hosts',
            readiness.GO,
            f'{seen} ports of {len(ports)} hosts are bound',
            '',
        ),
    )


def _ports(site: Site) -> dict[str, list[Port] | BaseException]:
    neutron = site.apis().network
    return bounded.each(
        {
            host: functools.partial(neutron.bound_to, host, SAMPLE)
            for host in sorted(common.cells_of_hosts(site))
        },
        _PATIENCE,
    )


def _agent(agent: Agent) -> str:
    return f'{agent["host"]} {agent["agent_type"]} {agent["binary"]}'


def _binding(host: str, state: str, observed: str, remedy: str) -> Finding:
    return Finding(
        LAYER,
        state,
        f'bindings {host}',
        observed,
        'bound, as in the snapshot',
        remedy,
    )
