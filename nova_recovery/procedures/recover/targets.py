# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Which way each server goes, and where to."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from nova_recovery.procedures.recover import obstacles
from nova_recovery.procedures.recover import situation

EVACUATE, MOVE = 'evacuate', 'move'


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What is planned for one server.

    :ivar method: ``evacuate`` or ``move``
    :ivar why: with ``move``: nova's reason not to evacuate it
    :ivar target: the host, None where none has room
    """

    server: situation.Server
    method: str
    why: str
    target: str | None


def needs(server: situation.Server) -> dict[str, int]:
    """What a server takes of its host: all that it holds in placement."""
    total: dict[str, int] = {}
    # An interrupted evacuation holds the same twice.
    for held in list((server.allocations or {}).values())[:1]:
        total.update(held)
    return total


def assign(
    servers: Iterable[situation.Server],
    request: situation.Request,
    found: situation.Situation,
) -> list[Assignment]:
    """A method and a target for each server, in the order of names.

    Where no target is named, a server goes to the host with the most free
    memory among those that placement has room on, counting the servers
    that were put there before it.
    """
    room = {
        name: dict(host.free)
        for name, host in found.hosts.items()
        if host.free is not None
    }
    assigned = []
    for server in sorted(servers, key=lambda s: (s.name, s.uuid)):
        method, why = _method(server, request, found)
        named = request.target_for.get(server.uuid, request.target_host)
        target = named or _proposal(server, request, found, room)
        if target in room:
            for name, amount in needs(server).items():
                room[target][name] = room[target].get(name, 0) - amount
        assigned.append(Assignment(server, method, why, target))
    return assigned


def _method(
    server: situation.Server,
    request: situation.Request,
    found: situation.Situation,
) -> tuple[str, str]:
    against = obstacles.to_evacuate(server, found.evacuates_with_task)
    if request.method == EVACUATE:
        return EVACUATE, ''
    if request.method == MOVE:
        return MOVE, 'asked for'
    if against:
        return MOVE, '; '.join(against)
    return EVACUATE, ''


def _proposal(
    server: situation.Server,
    request: situation.Request,
    found: situation.Situation,
    room: Mapping[str, Mapping[str, int]],
) -> str | None:
    wanted = needs(server)
    fitting = [
        name
        for name in sorted(room)
        if name not in request.hosts
        and usable(found.hosts[name])
        and found.hosts[name].cell == server.cell
        and server.pinned_zone in (None, found.hosts[name].zone)
        and all(room[name].get(k, 0) >= v for k, v in wanted.items())
    ]
    if not fitting:
        return None
    return max(fitting, key=lambda name: room[name].get('MEMORY_MB', 0))


def usable(host: situation.Host) -> bool:
    """Whether nova would put anything on this host."""
    return not (
        host.disabled
        or host.forced_down
        or host.silent
        or host.api_state == 'down'
        or len(host.nodes) != 1
    )


def connector(
    host: situation.Host, request: situation.Request
) -> situation.JSON | None:
    """How a target connects to volumes: as given, else as cinder has it."""
    return request.connectors.get(host.name) or host.connector
