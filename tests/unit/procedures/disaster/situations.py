# SPDX-License-Identifier: Apache-2.0

"""A cloud after a power loss, by names that a person can read.

What a scenario doesn't say is as usual: cell1 with np-rcc4, whose
nova-compute is up; a server is active there, ran in the snapshot, and
nothing was asked of it since. ``before: null`` is a server that the
snapshot doesn't have, ``record: false`` no snapshot at all.
"""

from __future__ import annotations

import datetime
from typing import Any

from nova_recovery.procedures.disaster import scope
from nova_recovery.procedures.disaster.look.hosts import Domain, Host, Session
from nova_recovery.procedures.disaster.situation import (
    Action,
    Before,
    Device,
    Gone,
    Outage,
    Recorded,
    Server,
    Service,
    Situation,
)
from tests.unit.procedures import rows
from tests.unit.procedures.volumes import situations as volumes

JSON = dict[str, Any]
HOST = 'np-rcc4'
#: The power went an hour before now, the snapshot is of the night.
NOW = datetime.datetime(2026, 11, 22, 15, 49)
OUTAGE = datetime.datetime(2026, 11, 22, 14, 49)
TAKEN = datetime.datetime(2026, 11, 22, 3, 0)
MARK = 1000


def make(
    servers: JSON | None = None, computes: JSON | None = None, **others: Any
) -> Situation:
    """A situation.

    :param servers: name -> fields; ``newest`` is a list of [action, user]
        or [action, user, result]
    :param computes: host -> state
    :param others: ``outage`` is its ``how``; ``volumes`` as
        ``volumes.situations`` has them, with ``mappings`` and servers of
        their own names; ``devices`` server -> volume -> fields; ``hosts``
        and ``hosts_before`` host -> fields
    """
    recorded = others.pop('record', True)
    given = {
        name: _server(name, fields or {}, recorded)
        for name, fields in (servers or {}).items()
    }
    computes = computes if computes is not None else {HOST: 'up'}
    how = others.pop('outage', 'given')
    both = others.pop('volumes', {})
    new = others.pop('new', None)
    return Situation(
        scope=scope.of(others.pop('scope', {})),
        now=NOW,
        recorded=Recorded(
            '/var/lib/nova-recovery/snapshots/night.snapshot',
            _time(others.pop('taken', TAKEN)),
            frozenset(others.pop('recorded', ['cell1'])),
            others.pop('markers', {}),
            **others.pop('snapshot', {}),
        )
        if recorded
        else None,
        outage=Outage(
            OUTAGE if how not in ('unknown', 'snapshot') else None,
            how,
            others.pop('within', 0),
        ),
        servers=given,
        gone=tuple(
            _gone(name, fields or {})
            for name, fields in others.pop('gone', {}).items()
        ),
        new=frozenset(
            new
            if new is not None
            else [u for u, s in given.items() if recorded and not s.before]
        ),
        marks=others.pop('marks', {'cell1': MARK}),
        computes={
            host: _service('nova-compute', host, fields)
            for host, fields in computes.items()
        },
        services=tuple(
            _service(name.partition('@')[0], name.partition('@')[2], fields)
            for name, fields in others.pop('services', {}).items()
        ),
        volumes=volumes.make(
            both,
            {
                name: {
                    'vm_state': one.vm_state,
                    'host': one.host,
                    'task_state': one.task_state,
                }
                for name, one in given.items()
            },
        )
        if both is not None
        else None,
        devices={
            server: tuple(
                _device(server, volume, fields or {})
                for volume, fields in some.items()
            )
            for server, some in others.pop('devices', {}).items()
        },
        hosts_before={
            name: _host(name, fields, TAKEN)
            for name, fields in others.pop('hosts_before', {}).items()
        },
        hosts_now={
            name: _host(name, fields, NOW)
            for name, fields in others.pop('hosts', {}).items()
        },
        disabled=tuple(others.pop('disabled', ())),
        **others,
    )


def _server(name: str, fields: JSON, recorded: bool) -> Server:
    fields = dict(fields)
    before = fields.pop('before', {})
    newest = tuple(
        _action(MARK + 1 + number, *one)
        for number, one in enumerate(fields.pop('newest', ()))
    )
    earlier = fields.pop('earlier', None)
    usual: JSON = {
        **rows.SERVER,
        'uuid': name,
        'name': name,
        'host': HOST,
        'node': HOST,
        'vm_state': 'active',
        'power_state': 1,
        'metadata': {},
        'group': None,
        'boots_from_volume': False,
        'image': 'cirros',
        'root_device': '/dev/vda',
        'instance_name': '',
        'row': {},
    }
    return Server(
        **{**usual, **fields},
        before=_before(before) if recorded and before is not None else None,
        newest=newest,
        earlier=_action(MARK - 1, *earlier) if earlier else None,
    )


def _before(fields: JSON) -> Before:
    usual: JSON = {'host': HOST, 'vm_state': 'active', 'power_state': 1}
    return Before(**{**usual, **fields})


def _action(
    number: int,
    action: str,
    user: str | None,
    result: str | None = 'Success',
    at: Any = None,
) -> Action:
    return Action(number, action, user, f'req-{number}', result, _time(at))


def _gone(name: str, fields: JSON) -> Gone:
    fields = dict(fields)
    usual: JSON = {'name': name, 'cell': 'cell1', 'project': 'demo'}
    before = _before(fields.pop('before', {}))
    return Gone(uuid=name, **{**usual, **fields}, before=before)


def _service(binary: str, host: str, fields: Any) -> Service:
    if isinstance(fields, str):
        fields = {'state': fields}
    usual: JSON = {
        'cell': 'cell1',
        'last_seen': NOW if fields.get('state', 'up') == 'up' else OUTAGE,
        'state': 'up',
    }
    return Service(binary=binary, host=host, **{**usual, **fields})


def _device(server: str, volume: str, fields: JSON) -> Device:
    usual: JSON = {
        'device': '/dev/vda' if fields.get('root') else '/dev/vdb',
        'root': False,
        'tag': None,
        'delete_on_termination': False,
        'attachment': None,
    }
    return Device(server=server, volume=volume, **{**usual, **fields})


def _host(name: str, fields: JSON, taken: datetime.datetime) -> Host:
    """``domains``: server -> [state, disks…]; ``sessions``: a list."""
    domains, sessions = fields.get('domains', {}), fields.get('sessions', [])
    return Host(
        name=name,
        taken_at=f'{_time(fields.get("taken", taken))}Z',
        domains=None
        if domains is None
        else {
            server: Domain(server, words[0], frozenset(words[1:]))
            for server, words in domains.items()
        },
        sessions=None
        if sessions is None
        else tuple(
            Session(**{'lun': 0, 'state': 'LOGGED IN', **one})
            for one in sessions
        ),
        rules=fields.get('rules', {}),
    )


def _time(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    return value
