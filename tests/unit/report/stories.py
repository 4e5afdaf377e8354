# SPDX-License-Identifier: Apache-2.0

"""Runs as they might have been: by the engine, in a journal, by a clock.

The engine carries them out, with changes that only say how they end. The
clock goes on each time that it is asked.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
from typing import Any
from unittest import mock

from nova_recovery.changes.base import BaseChange
from nova_recovery.engine import claiming, records
from nova_recovery.engine.change import At, Observed, Registry
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.runner import Runner
from nova_recovery.engine.undo import Undo
from nova_recovery.exceptions import ChangeFailed, NotRevertible
from tests.unit.engine.world import empty_journal

UUID = '3f57699a-e773-4650-a443-{:012x}'
#: The power goes, and the operator is there a while later.
POWER = '2026-03-01T13:58:00.000Z'
FIRST = datetime.datetime(2026, 3, 1, 14, 12, tzinfo=datetime.timezone.utc)


class Clock:
    """Goes on by a step whenever somebody looks at it."""

    def __init__(self, step: float = 1.0) -> None:
        self.time, self.step = FIRST, step

    def now(self) -> str:
        self.time += datetime.timedelta(seconds=self.step)
        text = self.time.isoformat(timespec='milliseconds')
        return text.replace('+00:00', 'Z')

    def wait(self, **much: float) -> None:
        """Let time pass."""
        self.time += datetime.timedelta(**much)


class Killed(BaseException):
    """The process is gone."""


class Told(BaseChange):
    """Ends as a test wants.

    :ivar fails: label -> why
    :ivar there: labels of what is as it should be
    :ivar kills: labels of what ends the process once
    :ivar kept: why it can't be taken back
    """

    def __init__(self, kind: str, **more: Any) -> None:
        self.kind = kind
        self.fails: dict[str, str] = {}
        self.there: set[str] = set()
        self.kills: set[str] = set()
        self.kept = ''
        for name, value in more.items():
            setattr(self, name, value)

    def describe(self, item: Item) -> list[str]:
        return [f'> {self.kind}']

    def observe(self, at: At[Any]) -> Observed:
        if at.item.label in self.there:
            return Observed.after('runs already')
        return Observed.before({'host': 'np-rcc54', 'power_state': 4})

    def apply(self, at: At[Any]) -> str:
        if at.item.label in self.kills:
            self.kills.discard(at.item.label)
            raise Killed
        if why := self.fails.get(at.item.label):
            raise ChangeFailed(why)
        return f'{self.kind} went well'

    def revert(self, at: At[Any]) -> str:
        if self.kept:
            raise NotRevertible(self.kept)
        return 'as it was'


class Story:
    """A journal in a folder, a clock, and changes."""

    def __init__(self, folder: pathlib.Path, step: float = 1.0) -> None:
        self.url = f'sqlite:///{folder}/journal.sqlite'
        # making one takes as long as ten runs
        (folder / 'journal.sqlite').write_bytes(empty_journal())
        self.journal = Journal.open(self.url)
        self.clock = Clock(step)
        self.restart = Told('restart-server', method='restart', starts=True)
        self.boot = Told('watch-boot', looks=True)
        self.evacuate = Told('evacuate-server', method='evacuate', starts=True)
        self.verify = Told('verify-server', looks=True)
        self.registry: Registry = {
            one.kind: one
            for one in (
                self.restart, self.boot, self.evacuate, self.verify,
                Told('reboot-server', method='reboot', starts=True,
                     stops=True),
                *map(Told, (claiming.HOST, claiming.SERVER, 'release-host',
                            'release-server')),
            )
        }  # fmt: skip

    def create(self, plan: Plan, **who: str) -> str:
        words = {
            'who': 'anna',
            'machine': 'ctl1',
            'command': f'nova-recovery {plan.procedure}',
        }
        with self._timed():
            return self.journal.create_run(plan, **{**words, **who})

    def run(self, run_id: str, **more: Any) -> Outcome:
        """Carry it out, or go on with it."""
        with self._timed():
            return Runner(**self._session(**more)).carry_out(run_id)

    def undo(self, run_id: str) -> Outcome:
        with self._timed():
            return Undo(**self._session()).undo(run_id)

    def killed(self, run_id: str) -> None:
        """Carry it out as far as the process that is killed comes.

        What a dead process leaves in the journal is all that there is of it.
        """
        state = Journal.set_run_state

        def set_(journal: Journal, run: str, to: str, *words: str) -> None:
            if to != 'interrupted':
                state(journal, run, to, *words)

        with self._timed(), contextlib.suppress(Killed):
            with mock.patch.object(Journal, 'set_run_state', set_):
                Runner(**self._session(workers=1)).carry_out(run_id)

    def _session(self, **more: Any) -> dict[str, Any]:
        return {
            'journal': self.journal,
            'registry': self.registry,
            'cloud': None,
            'reporter': PlainReporter(mock.Mock()),
            'workers': 8,
            **more,
        }

    def _timed(self) -> Any:
        return mock.patch.object(records, 'now', self.clock.now)

    def items(self, run_id: str) -> dict[str, records.ItemRecord]:
        return {item.id: item for item in self.journal.items(run_id)}


def disaster(
    servers: int,
    per_wave: int = 50,
    down_since: str = POWER,
    name: str = 'at3-ui{:04}',
    hosts: int = 40,
) -> Plan:
    """All servers of a site come back, in waves."""
    every = range(1, servers + 1)
    waves = [every[i : i + per_wave] for i in range(0, servers, per_wave)]
    steps = [
        Step(
            f'wave-{number}',
            f'reboot or start, wave {number} of {len(waves)}',
            (
                *(_item('restart-server', n, name, hosts) for n in wave),
                *(_item('watch-boot', n, name, hosts) for n in wave),
            ),
            {'host': 4},
            number=3,
        )
        for number, wave in enumerate(waves, 1)
    ]
    claims = [
        claiming.server(UUID.format(n), name.format(n), 'cell1') for n in every
    ]
    return Plan(
        'disaster',
        f'bring {servers} servers of the site back',
        {'scope': 'all'},
        claiming.around(claims, steps),
        (
            Gate(
                'snapshot-age', '', 'soft', 'overridden',
                'the snapshot is 26 h old', '',
                'nothing was deployed since yesterday',
            ),
            Gate('apis-reachable', '', 'hard', 'ok', 'nova 2.104'),
        ),
        ('np-rcc54 is off and was left out.',),
        (
            LeftOut(
                f'server:{UUID.format(0xfff1)}',
                'at3-old',
                'its host is skipped; when it is back:\nopenstack recovery '
                f'server reboot {UUID.format(0xfff1)}',
            ),
        ),
        '2026-03-01T14:10:30Z',
        down_since={'': down_since} if down_since else {},
        cloud='practice',
    )  # fmt: skip


def repair(*numbers: int, name: str = 'at3-ui{:04}') -> Plan:
    """Some of them are rebooted by themselves, later."""
    claims = [
        claiming.server(UUID.format(n), name.format(n), 'cell1')
        for n in numbers
    ]
    step = Step(
        'reboot',
        'reboot or start',
        tuple(_item('reboot-server', n, name, 40) for n in numbers),
    )
    return Plan(
        'server-reboot',
        f'reboot {len(numbers)} servers, each exactly once',
        {},
        claiming.around(claims, [step]),
        created_at='2026-03-01T16:00:00Z',
        cloud='practice',
    )


def _item(kind: str, number: int, name: str, hosts: int) -> Item:
    uuid = UUID.format(number)
    subject = 'boot' if kind == 'watch-boot' else 'server'
    host = f'np-rcc{number % hosts:02}'
    return Item(
        f'{kind}:{uuid}',
        kind,
        f'{subject}:{uuid}',
        name.format(number),
        {'uuid': uuid, 'host': host, 'cell': 'cell1'},
        (f'server:{uuid}',) if subject == 'boot' else (),
    )
