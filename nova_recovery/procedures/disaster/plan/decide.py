# SPDX-License-Identifier: Apache-2.0

"""The five steps, decided. Pure functions of what was found."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from nova_recovery import program
from nova_recovery.cloud import records
from nova_recovery.engine.plan import LeftOut, Plan
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.disaster.before_queens.cleaning import Cleaning
from nova_recovery.procedures.disaster.judge import wanted
from nova_recovery.procedures.disaster.judge.wanted import Answer, Order
from nova_recovery.procedures.disaster.look import layout
from nova_recovery.procedures.disaster.plan import clean, gates, reattach
from nova_recovery.procedures.disaster.plan import steps as steps_module
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.plan.reattach import Reattached
from nova_recovery.procedures.disaster.plan.steps import Decided
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Found, Situation
from nova_recovery.procedures.guests import reboot as guests
from nova_recovery.procedures.guests.reboot import Chosen
from nova_recovery.report import wording


def decide(request: Request, found: Found, now: str = '') -> Plan:
    """The plan.

    :raises NotFound: a server group that isn't there
    :raises UsageError: ``--max-failures`` is no number and no share
    """
    decided = _decided(request, found)
    steps = steps_module.steps(request, found, decided)
    total = len(decided.running)
    # a record alone brings nobody anything
    if not any(step.items for step in steps[1:]):
        steps = ()
    return Plan(
        procedure=steps_module.NAME,
        title=f'record and clean the volumes of {request.scope.words()}'
        if found.legacy
        else f'bring {wording.count(total, "server")} of '
        f'{request.scope.words()} back',
        arguments=request.plain(),
        steps=steps,
        gates=tuple(
            gates.gates(
                request,
                found,
                steps_module.touches(steps),
                frozenset(),
                starts=steps_module.starts(steps),
            )
        ),
        notes=tuple(_notes(request, found, decided)),
        left_out=tuple(_left_out(found, decided)),
        created_at=now,
        down_since=_down_since(found.situation),
    )


def _down_since(here: Situation) -> dict[str, str]:
    """When the power went, if that is known better than by a snapshot."""
    known = here.outage.how in ('given', 'heartbeat')
    return {'': wording.iso(here.outage.at)} if known else {}


def _decided(request: Request, found: Found) -> Decided:
    here = found.situation
    answer = wanted.wanted(here, _order(request, here))
    left = dict(answer.left)
    alone = {
        uuid
        for uuid, server in here.servers.items()
        if server.host in here.scope.skip_hosts
    }
    for uuid, why in _on_skipped(here).items():
        alone.add(uuid)
        left[uuid] = why
    for uuid, what in found.migrating.items():
        if uuid in here.servers:
            alone.add(uuid)
            left[uuid] = (
                f'its {what} has no end; when nova-compute has started again '
                'and its task is over:\n'
                + program.call(f'server reboot {uuid}')
            )
    for uuid, place in found.places.items():
        if not place.here_only:
            alone.add(uuid)
            left[uuid] = whereabouts.left_alone(place, uuid)
    if found.legacy is not None:
        return _before_queens(found.legacy, answer, left)
    cleaned = clean.plan(request, found, alone)
    running = []
    for one in answer.servers:
        if one.uuid in alone:
            continue
        if one.uuid in cleaned.danger:
            left[one.uuid] = cleaned.danger[one.uuid]
            continue
        running.append(one)
    reattached = reattach.plan(
        request,
        found,
        cleaned,
        {one.uuid for one in running},
        alone | set(cleaned.danger),
    )
    chosen = guests.choose(
        [one.server for one in running],
        request.guests,
        found.reach,
        reattached.items,
    )
    return Decided(answer, tuple(running), left, cleaned, reattached, chosen)


def _on_skipped(here: Situation) -> dict[str, str]:
    """The servers with volumes of a back end to skip, and why.

    :raises NotFound: no volume is there
    """
    skipped = here.scope.skip_backends
    if not skipped or here.volumes is None:
        return {}
    needed = steps_module.Needed(here)
    known = sorted(set(needed.ends.values()))
    for name in skipped:
        if name not in known:
            raise NotFound(
                f'no volume is on a back end named {name}; there are '
                + (', '.join(known) or 'none')
            )
    return {
        uuid: f'its volume {ends[name]} is on {name}, which is skipped: '
        + skipped[name]
        for uuid in here.servers
        for ends in [needed.of_server(uuid)]
        for name in sorted(ends.keys() & skipped.keys())
    }


def _before_queens(
    cleaning: Cleaning, answer: Answer, left: dict[str, str]
) -> Decided:
    """The record and the guide's UPDATE; the rest is the operator's.

    What the other steps ask of nova and cinder these don't answer.
    """
    items = tuple(i for step in cleaning.steps for i in step.items)
    for one in answer.servers:
        left[one.uuid] = 'to be rebooted by hand, and its volumes attached'
    return Decided(
        answer, (), left, Cleaned(items=items), Reattached(), Chosen()
    )


def _order(request: Request, here: Situation) -> Order:
    return Order(
        first=request.first,
        key=request.priority_key,
        groups=tuple(layout.named_groups(here.groups, request.groups_first)),
    )


def _left_out(found: Found, decided: Decided) -> Iterator[LeftOut]:
    name = found.situation.name
    for uuid, why in decided.left.items():
        yield LeftOut(f'server:{uuid}', name(uuid), why)
    for volume, why in decided.cleaned.left.items():
        yield LeftOut(f'volume:{volume}', '', why)
    for (volume, uuid), why in decided.reattached.left.items():
        yield LeftOut(f'attach:{volume}:{uuid}', name(uuid), why)
    for uuid, why in decided.chosen.left.items():
        yield LeftOut(f'guest:{uuid}', name(uuid), why)
    if found.legacy is not None:
        yield from found.legacy.left_out


def _notes(request: Request, found: Found, decided: Decided) -> Iterator[str]:
    """Lines, the most important first."""
    here = found.situation
    yield from _warnings(found, decided)
    moved = [one for one in decided.running if one.moved]
    if moved:
        some = ', '.join(one.server.name or one.uuid for one in moved[:5])
        yield (
            f'{wording.count(len(moved), "server")} moved since the snapshot, '
            f'to be restarted where they are now: {some}'
        )
    if here.new:
        yield (
            f'{wording.count(len(here.new), "server")} younger than the '
            'snapshot: whether they ran is told by the databases.'
        )
    down = sorted(
        {one.server.host or '' for one in decided.running}
        - {h for h, s in here.computes.items() if s.state == records.UP}
    )
    if down:
        yield (
            f'nova-compute is not up on {wording.count(len(down), "host")} '
            f'that step 3 needs: {", ".join(down[:5])}. It waits for them; '
            'one that will not come back is left out with --skip-host '
            'HOST=REASON.'
        )
    for host in down:
        if host not in here.computes:
            yield (
                f'{host} has no nova-compute in the databases any more: bring '
                'its servers back elsewhere ('
                + program.call(f'host recover {host}')
                + '), and leave it out here.'
            )
    yield from _skipped(here)
    if decided.reattached.kept:
        yield (
            f'{wording.count(decided.reattached.kept, "data volume")} of the '
            'record attached as they were.'
        )
    yield from decided.chosen.notes
    if found.legacy is not None:
        yield from found.legacy.notes


def _warnings(found: Found, decided: Decided) -> Iterator[str]:
    """Those of the guide, where they apply."""
    if decided.running:
        yield (
            'Each server is rebooted or started once. One that stops while it '
            'boots may be waiting for a volume that comes back in step 4, or '
            'checks its file systems: do not reboot it a second time. Only '
            + program.call('run resume RUN --again SERVER=REASON')
            + ' sends again.'
        )
    if found.legacy is not None:
        yield (
            'Data may be lost on Liberty and earlier: nova-compute destroys '
            'guests of servers that are not on its host by the database. See '
            'that destroy_after_evacuate is set as it should be before it '
            'starts.'
        )
        yield (
            'This cloud is from before Queens: only the steps 1 and 2 are '
            'done here. Reboot its servers and attach the volumes again by '
            'hand, from the map file of step 1.'
        )


def _skipped(here: Situation) -> Iterator[str]:
    """Whose servers are left to another command."""
    servers = collections.Counter(
        server.host for server in here.servers.values()
    )
    for host, reason in sorted(here.scope.skip_hosts.items()):
        yield (
            f'{host} is skipped ({reason}), with '
            f'{wording.count(servers[host], "server")}, to be recovered '
            f'elsewhere: ' + program.call(f'host recover {host}')
        )
