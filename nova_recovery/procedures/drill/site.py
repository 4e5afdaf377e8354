# SPDX-License-Identifier: Apache-2.0

"""``drill site``: a whole site loses its power, for a rehearsal.

As the drill of one server, with the power of all: this run takes the
snapshot, claims the hosts, has the power taken and given back and waits until
the site answers. What brings the servers back is the procedure after a
disaster, in a run of its own (``site_back``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import dataclasses
import socket
from typing import TYPE_CHECKING

from oslo_config import cfg

from nova_recovery import program, readiness
from nova_recovery.cloud import clock, records
from nova_recovery.cloud.db import identity
from nova_recovery.engine import claiming, states
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.engine.printable import some
from nova_recovery.fencing import programs
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.disaster import request as disaster
from nova_recovery.procedures.disaster.look import gather
from nova_recovery.procedures.disaster.situation import Found, RUNNING, Server
from nova_recovery.procedures.drill import procedure
from nova_recovery.procedures.volumes import policy
from nova_recovery.readiness import Site
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.records import ItemRecord

NAME = 'drill-site'
#: The items that take the power and give it back, and their subjects.
OFF, ON = 'power-off-site', 'power-on-site'
_OFF, _ON, _ANSWERS = 'power:off', 'power:on', 'site:answers'
#: The numbers of the steps: by hand it pauses after each.
BEFORE, LOSS, RETURN = 1, 2, 3
#: So many are named, as a rule.
_MOST = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """Which site, and who was named.

    :ivar cloud: what it was called by whoever asked
    :ivar servers: UUIDs; None: all that there are
    :ivar by_hand: nothing is sent: somebody takes the power, and gives it
        back
    :ivar targets: step -> seconds, see ``report.drill``
    """

    cloud: str
    servers: tuple[str, ...] | None
    by_hand: bool = False
    targets: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Power:
    """What takes the power and gives it back.

    :ivar off: as it is shown; None: by hand
    :ivar missing: why it can't be done, a line each
    """

    off: str | None = None
    on: str | None = None
    missing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is known of the site.

    :ivar found: as a disaster of all of it would find it
    :ivar seen: host -> the columns of its service that a claim writes
    :ivar red: what would hold the way back up, of readiness
    :ivar identity: what tells the cloud
    :ivar journal: why the journal may lose its power too, '' if it won't
    :ivar quiet: seconds without a report after which a host is down
    :ivar patience: seconds in which all has to be back
    """

    found: Found
    power: Power
    red: tuple[Finding, ...] = ()
    identity: tuple[str, ...] = ()
    journal: str = ''
    quiet: int = 60
    patience: int = 1800

    @property
    def servers(self) -> dict[str, Server]:
        """Those that are on a host, by UUID."""
        every = self.found.situation.servers
        return {uuid: one for uuid, one in every.items() if one.host}


def power(conf: cfg.ConfigOpts, by_hand: bool) -> Power:
    """The programs that are configured."""
    if by_hand:
        return Power()
    missing = [
        why
        for option in ('site_power_off', 'site_power_on')
        if (why := programs.missing(f'[drill] {option}', conf.drill[option]))
    ]
    if missing:
        return Power('', '', tuple(missing))
    if conf.drill.site_power_off == conf.drill.site_power_on:
        # a slip, or a switch that is turned over: it may not be run again
        why = '[drill] site_power_off and site_power_on are the same'
        return Power('', '', (why,))
    off, on = (
        programs.shown(f'[drill] {option}', conf.drill[option])
        for option in ('site_power_off', 'site_power_on')
    )
    return Power(off, on)


def make_plan(
    cloud: Cloud,
    request: Request,
    ours: Callable[[], frozenset[str]] = frozenset,
) -> Plan:
    """Ask the cloud, and decide.

    :param ours: see ``readiness.Site``
    """
    return decide(request, _read(cloud, request, ours), clock.now())


def _read(
    cloud: Cloud, request: Request, ours: Callable[[], frozenset[str]]
) -> Seen:
    conf = cloud.conf
    found = gather.read_all(cloud, disaster.Request(), watch=False)
    return Seen(
        found,
        power(conf, request.by_hand),
        tuple(readiness.red(readiness.look(Site(cloud, ours=ours)))),
        tuple(sorted(identity.of(cloud))),
        loses_journal(
            conf.journal.connection,
            found.situation.computes,
            socket.gethostname(),
        ),
        cloud.nova.service_down_time,
        conf.drill.site_back_timeout,
    )


def loses_journal(
    connection: str, hosts: Collection[str], machine: str
) -> str:
    """Why the journal may lose its power with the site, '' if it won't.

    :param connection: of the journal
    :param hosts: which lose their power
    :param machine: this one, as it calls itself
    """
    if not connection.startswith('sqlite'):
        return (
            'the journal is in a database of a server, which may lose its '
            'power with the site'
        )
    if machine.partition('.')[0] in {one.partition('.')[0] for one in hosts}:
        return f'this machine, {machine}, is one of the hosts that lose power'
    return ''


def decide(request: Request, seen: Seen, now: str = '') -> Plan:
    """The plan to take the power of the site."""
    gates = tuple(_gates(request, seen))
    steps = () if seen.power.missing else _steps(request, seen)
    return Plan(
        procedure=NAME,
        title=f'drill: the whole of {request.cloud} loses its power',
        arguments={
            'cloud': request.cloud,
            'identity': list(seen.identity),
            'servers': None
            if request.servers is None
            else sorted(request.servers),
            'by_hand': request.by_hand,
            'targets': dict(request.targets),
        },
        steps=steps,
        gates=gates,
        notes=tuple(_notes(request, seen)),
        created_at=now,
    )


def of(plan: Plan) -> Request:
    """The request of a plan."""
    data = plan.arguments
    servers = data['servers']
    return Request(
        data['cloud'],
        None if servers is None else tuple(servers),
        data['by_hand'],
        data['targets'],
    )


def _notes(request: Request, seen: Seen) -> Iterator[str]:
    servers = seen.servers.values()
    hosts = seen.found.situation.computes
    projects = {one.project for one in servers}
    running = [one for one in servers if one.power_state == RUNNING]
    yield (
        f'These lose their power: {wording.count(len(hosts), "host")} '
        f'({some(sorted(hosts), _MOST)}) with '
        f'{wording.count(len(servers), "server")}, of which {len(running)} '
        f'run, of {wording.count(len(projects), "project")} '
        f'({some(sorted(projects), _MOST)}). What they have not written is '
        'lost, as on the day.'
    )
    held = sorted(
        one.name or one.uuid
        for one in servers
        if one.vm_state in ('paused', 'suspended')
    )
    if held:
        told = some(held, _MOST)
        yield f'Paused or suspended, and not so afterwards: {told}.'
    yield (
        'This machine, with the journal and the snapshot, has to keep its '
        'power. Killed, or rebooted? Type the same again, and it goes on.'
    )
    yield (
        'Then, unasked: who is down, the five steps of a disaster for the '
        'whole cloud, in a run of their own and without a dump of the '
        'databases, and whether all are up again.'
    )


def _steps(request: Request, seen: Seen) -> tuple[Step, ...]:
    hosts = sorted(
        seen.found.situation.computes.values(), key=lambda one: one.host
    )
    cells = sorted({one.cell for one in hosts})
    claims = [
        claiming.host(one.host, one.cell, one.id, _before(one))
        for one in hosts
    ]
    snapshot = Item(
        'take-snapshot:drill',
        'take-snapshot',
        procedure.SNAPSHOT,
        'the cloud as it is',
        {'cells': cells},
    )
    alive = tuple(_see(one, f'host:{one.host}', ()) for one in hosts)
    off = Item(
        f'{OFF}:site',
        OFF,
        _OFF,
        'power-off',
        {
            'command': seen.power.off,
            'hosts': [
                {'host': one.host, 'cell': one.cell, 'service_id': one.id}
                for one in hosts
            ],
            'servers': sorted(seen.servers),
            'quiet': seen.quiet,
        },
        # taken by hand, it may have taken what the claims are asked of
        (procedure.SNAPSHOT,)
        if request.by_hand
        else (procedure.SNAPSHOT, *(claim.subject for claim in claims)),
    )
    on = Item(
        f'{ON}:site', ON, _ON, 'power-on', {'command': seen.power.on}, (_OFF,)
    )
    answers = Item(
        'see-site:site',
        'see-site',
        _ANSWERS,
        'the site',
        {'cells': cells, 'patience': seen.patience},
        (_ON,),
    )
    back = tuple(
        _see(one, f'compute:{one.host}', (_ANSWERS,), seen.patience)
        for one in hosts
    )
    claim, *steps, release = claiming.around(
        claims,
        (
            Step('alive', 'see that all report', alive, number=BEFORE),
            Step('off', 'take the power of the site', (off,), number=LOSS),
            Step('on', 'give the power back', (on,), number=RETURN),
            Step('answers', 'wait for the site', (answers,), number=RETURN),
            Step('back', 'wait for each host', back, number=RETURN),
        ),
        [claiming.release(one, (f'compute:{one.label}',)) for one in claims],
        ('claim the hosts', 'give the claims back'),
    )
    return (
        Step(
            'snapshot',
            'save how it is',
            (snapshot,),
            failures=0,
            number=BEFORE,
        ),
        dataclasses.replace(claim, failures=0, number=BEFORE),
        *steps,
        dataclasses.replace(release, number=RETURN),
    )


def _see(
    one: records.Service,
    subject: str,
    follows: tuple[str, ...],
    patience: int | None = None,
) -> Item:
    data = {'host': one.host, 'cell': one.cell, 'service_id': one.id}
    if patience is not None:
        data['patience'] = patience
    return Item(
        f'see-service:{subject}',
        'see-service',
        subject,
        one.host,
        data,
        follows,
    )


def _before(one: records.Service) -> dict[str, object]:
    seen: dict[str, object] = {
        'disabled': int(one.disabled),
        'disabled_reason': one.disabled_reason,
    }
    if one.forced_down is not None:
        seen['forced_down'] = int(one.forced_down)
    return seen


def _gates(
    request: Request, seen: Seen, touched: frozenset[str] = frozenset()
) -> Iterator[Gate]:
    yield _power(request, seen)
    yield _named(request, seen)
    yield _alive(seen)
    yield _journal(seen)
    yield _sound(seen)
    # what this run has claimed is claimed by this run
    ours = any(one.startswith('host:') for one in touched)
    servers = sorted(seen.servers)
    yield from procedure.of_way_back(
        seen.found,
        seen.red,
        servers,
        frozenset(f'server:{uuid}' for uuid in servers) if ours else touched,
        'rehearse on one host of it, by hand',
    )


def _power(request: Request, seen: Seen) -> Gate:
    if seen.power.missing:
        return Gate(
            'power-programs',
            '',
            'hard',
            'refused',
            '; '.join(seen.power.missing),
            'set [drill] site_power_off and site_power_on in '
            'nova-recovery.conf to programs that take the power of the site '
            'and give it back; or do that yourself, with --by-hand',
        )
    told = (
        f'off: {seen.power.off}; on: {seen.power.on}'
        if not request.by_hand
        else 'by hand: it waits for your word'
    )
    return Gate('power-programs', '', 'hard', 'ok', told)


def _named(request: Request, seen: Seen) -> Gate:
    """A drill never touches a server that is not named."""
    here = seen.found.situation
    if here.silent or here.disabled:
        cells = ', '.join([*sorted(here.silent), *here.disabled])
        return Gate(
            'servers-named',
            '',
            'hard',
            'unknown',
            f'which servers are there is not known of cell {cells}',
            'its hosts would lose their power too: bring its database back, '
            'or enable it',
        )
    servers = seen.servers
    total = wording.count(len(servers), 'server')
    if request.servers is None:
        return Gate('servers-named', '', 'hard', 'ok', f'all: {total}')
    others = sorted(
        servers[uuid].name or uuid
        for uuid in servers.keys() - set(request.servers)
    )
    if others:
        return Gate(
            'servers-named',
            '',
            'hard',
            'refused',
            f'{wording.count(len(others), "server")} would lose their power '
            f'that were not named: {some(others, 20)}',
            'a drill touches no server that is not named: name all of them '
            '(--server), or say --all-servers',
        )
    return Gate('servers-named', '', 'hard', 'ok', f'{total}, each by name')


def _alive(seen: Seen) -> Gate:
    computes = seen.found.situation.computes
    down = sorted(
        f'{host} is {one.state}'
        for host, one in computes.items()
        if one.state != records.UP
    )
    if down or not computes:
        return Gate(
            'computes-alive',
            '',
            'hard',
            'refused',
            f'nova-compute: {some(down, _MOST)}' if down else 'there is none',
            'what is down before tells nothing of the loss: start it, or '
            'recover the host first',
        )
    return Gate(
        'computes-alive',
        '',
        'hard',
        'ok',
        f'{wording.count(len(computes), "nova-compute")} up',
    )


def _journal(seen: Seen) -> Gate:
    if seen.journal:
        return Gate(
            'journal-outside',
            '',
            'soft',
            'refused',
            seen.journal,
            'without it nothing can be sent, and the power would have to be '
            'given back by hand: use a file ([journal] connection = '
            'sqlite:///PATH) of a machine that keeps its power, or override '
            'where it does keep it',
        )
    return Gate('journal-outside', '', 'soft', 'ok', 'a file of this machine')


def _sound(seen: Seen) -> Gate:
    """What is wrong before would be mended, and be none of the loss."""
    both = seen.found.situation.volumes
    wrong = [] if both is None else policy.findings(both)
    told = [f'{one.code} of volume {one.volume}' for one in wrong]
    return Gate(
        'site-sound',
        '',
        'soft',
        'refused' if wrong else 'ok',
        some(told, 5) or 'nothing is wrong with its volumes',
        'mend it first, or override: it is mended on the way back:\n'
        + program.call('volume check')
        if wrong
        else '',
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now.

    Once the power may be off there is nobody to be asked, and nothing to be
    refused: it has to come back.
    """
    left = {item.subject for item in plan.items()}
    request = of(plan)
    # by hand it is taken once all is claimed
    taken = request.by_hand and not any(
        item.kind == claiming.HOST for item in plan.items()
    )
    if taken or _OFF in touched or _OFF not in left:
        return ()
    return tuple(_gates(request, _read(cloud, request, frozenset), touched))


def only_forward(plan: Plan, items: Iterable[ItemRecord]) -> str:
    """Why the run may not be taken back: it has to give the power back.

    One that was taken back can't be resumed. By hand nothing was sent, and
    whoever did it knows.
    """
    of = {item.kind: item for item in items}
    off, on = of[OFF], of[ON]
    sent = off.begun and 'sending' in off.notes
    if sent and not plan.arguments['by_hand'] and on.state not in states.GOOD:
        return 'the power of the site may be off, and has to be given back'
    return ''


PROCEDURE = Procedure(NAME, make_plan, check, only_forward=only_forward)
