# SPDX-License-Identifier: Apache-2.0

"""From what is and what was asked for to a plan. Nothing but functions."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.engine.plan import LeftOut, Plan
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures.recover import build, gates, ways
from nova_recovery.procedures.recover.situation import (
    Request,
    Server,
    Situation,
)
from nova_recovery.procedures.recover.ways import Assignment
from nova_recovery.report import wording

NAME = 'host-recover'


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan of a recovery.

    :param now: when the situation was read, UTC, ISO 8601 with Z
    :raises UsageError: the request contradicts itself
    """
    _check(request, found)
    servers = chosen(request, found)
    assigned = ways.assign(servers, request, found)
    left_out = tuple(
        LeftOut(server.subject, server.name, 'excluded')
        for server in found.servers
        if server.uuid in request.exclude
    )
    return Plan(
        procedure=NAME,
        title=(
            f'recover {wording.count(len(servers), "server")} of '
            f'{", ".join(request.hosts)}'
        ),
        arguments=to_arguments(request),
        steps=build.steps(request, found, assigned),
        gates=gates.check(
            request, found, assigned, request.hosts if request.fence else ()
        ),
        notes=tuple(_notes(request, assigned)),
        left_out=left_out,
        created_at=now,
    )


def chosen(request: Request, found: Situation) -> list[Server]:
    """The servers that the request is about."""
    return [
        server
        for server in found.servers
        if server.uuid not in request.exclude
        and (not request.servers or server.uuid in request.servers)
    ]


def to_arguments(request: Request) -> dict[str, Any]:
    """The request as JSON types."""
    arguments = dataclasses.asdict(request)
    for name, value in arguments.items():
        if isinstance(value, tuple):
            arguments[name] = list(value)
    return arguments


def from_arguments(arguments: dict[str, Any]) -> Request:
    """The request that a plan was made for."""
    values = dict(arguments)
    for name in ('hosts', 'servers', 'exclude'):
        values[name] = tuple(values[name])
    return Request(**values)


def _check(request: Request, found: Situation) -> None:
    known = {server.uuid for server in found.servers}
    for uuid in (*request.servers, *request.target_for, *request.exclude):
        if uuid not in known:
            raise UsageError(
                f'server {uuid} is none of those to be recovered of '
                f'{", ".join(request.hosts)}'
            )
    for uuid in request.target_for:
        if uuid in request.exclude:
            raise UsageError(
                f'server {uuid} is both excluded and given a target'
            )


def _notes(request: Request, assigned: list[Assignment]) -> list[str]:
    notes = [
        f'{one.server.name} is moved by hand: {one.why}'
        for one in assigned
        if one.method == ways.MOVE and request.method == 'auto'
    ]
    if not any(one.target for one in assigned):
        return notes
    if len(request.hosts) == 1:
        notes.append(
            f'{request.hosts[0]} stays disabled and forced down. When it '
            'returns, start its nova-compute and let it clean up before you '
            'enable it.'
        )
    else:
        notes.append(
            f'{", ".join(request.hosts)} stay disabled and forced down. When '
            'they return, start their nova-compute and let it clean up '
            'before you enable them.'
        )
    return notes
