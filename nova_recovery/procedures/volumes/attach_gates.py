# SPDX-License-Identifier: Apache-2.0

"""What must hold before ``volume attach`` changes anything."""

from __future__ import annotations

from collections.abc import Iterator

from nova_recovery.cloud.db.mappings import Server
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.volumes import guards, pair, states
from nova_recovery.procedures.volumes.guards import Outside
from nova_recovery.procedures.volumes.pair import Found, Request

#: nova attaches to servers in these (nova/compute/api.py: attach_volume);
#: a shelved and offloaded one is on no host.
ATTACHES = frozenset({'active', 'paused', 'stopped', 'resized'})


def gates(
    request: Request, found: Found, touched: frozenset[str]
) -> Iterator[Gate]:
    """What must hold before it is attached.

    :param touched: subjects that the run has begun with
    """
    yield from guards.whole(found.situation)
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    mapping = pair.mapping_of(request, found.situation)
    lost = pair.lost_by(request, found)
    if f'volume:{volume.id}' in touched:
        return
    wrong = pair.findings_of(request, found.situation)
    if mapping is not None and lost is None and not wrong:
        return
    why = states.untouchable(volume)
    if why:
        yield _refused(volume.id, why, 'wait until cinder is done with it')
        return
    for one in wrong:
        if one is not lost and one.remedy != 'attach':
            yield _refused(
                volume.id,
                f'{one.code}: {one.cause}',
                one.fix or 'there is no safe way by a command',
            )
    if mapping is None and not wrong:
        why = pair.not_attachable(request, found)
        if why:
            yield _refused(
                volume.id,
                why,
                'see openstack recovery volume check for what to do first',
            )
    yield from guards.unclaimed(server, found.outside, touched)
    if mapping is None:
        yield from _host(server, found.outside, 'hard')
        yield from _takes(server)
        return
    yield from guards.no_task(server)
    if lost is not None and not pair.adoptable(lost, mapping, found):
        yield from _host(server, found.outside, 'soft')
        yield from _anew(request, found)


def _refused(volume: str, observed: str, remedy: str) -> Gate:
    return Gate('attachable', volume, 'hard', 'refused', observed, remedy)


def _host(server: Server, seen: Outside, klass: str) -> Iterator[Gate]:
    """nova attaches through the host: hard; cinder by itself: soft."""
    host = server.host or 'no host'
    if seen.compute == 'up':
        yield Gate('host-up', host, klass, 'ok', 'nova-compute is up')
        return
    state = 'unknown' if seen.compute is None else 'refused'
    told = '; '.join(seen.unreachable.values()) or f'it is {seen.compute}'
    yield Gate(
        'host-up',
        host,
        klass,
        state,
        told,
        'if the host does not come back, recover the server first: openstack '
        f'recovery server recover {server.uuid}'
        + (
            ''
            if klass == 'soft'
            else '; the request would wait in the message bus, and its '
            'replay leaves a mapping that no API repairs'
        ),
    )


def _takes(server: Server) -> Iterator[Gate]:
    if server.vm_state not in ATTACHES or server.task_state:
        yield Gate(
            'server-takes-it',
            server.name,
            'hard',
            'refused',
            f'it is {server.vm_state}, task {server.task_state or "none"}',
            'wait until nova is done with it',
        )


def _anew(request: Request, found: Found) -> Iterator[Gate]:
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    if found.connector is None:
        yield Gate(
            'connector-known',
            server.host or 'no host',
            'hard',
            'unknown',
            f'how {server.host} connects to volumes is not known',
            'give --connector HOST=FILE, made there with "nova-manage '
            'volume_attachment get_connector --json"',
        )
    else:
        yield Gate(
            'connector-known', server.host or 'no host', 'hard', 'ok', 'known'
        )
    held = [
        one
        for one in volume.attachments
        if one.server == request.server
        and one.status in ('attached', 'detaching')
    ]
    if held:
        yield guards.guest_off(
            server,
            volume.id,
            found.outside,
            'cinder takes the volume away for a moment',
        )
