# SPDX-License-Identifier: Apache-2.0

"""How long each step of a drill took, beside how long it may take."""

from __future__ import annotations

from typing import Any

from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord
from nova_recovery.exceptions import UsageError
from nova_recovery.report import drill
from nova_recovery.report.drill import Drill, Part
from tests.base import TestCase

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
SNAPSHOT = '/snapshots/run-1.snapshot'


def at(seconds: float) -> str:
    return f'2026-11-29T10:{int(seconds // 60):02}:{seconds % 60:06.3f}Z'


def item(
    step: str, kind: str, begun: float, ended: float, **more: Any
) -> ItemRecord:
    given = {'state': 'done', 'detail': '', **more}
    return ItemRecord(
        id=kind, number=0, step=step, position=0, kind=kind, subject=UUID,
        label='canary', begun=True, image={}, notes={},
        started_at=at(begun), finished_at=at(ended), **given,
    )  # fmt: skip


def part(procedure: str, plan: Plan, items: list[ItemRecord]) -> Part:
    run = RunRecord(
        id=procedure, procedure=procedure, title='', state='done', who='',
        machine='', command='', digest='', created_at='', started_at='',
        finished_at='', holder='', counts={},
    )  # fmt: skip
    return Part(run, plan, tuple(items))


def made(
    *events: tuple[float, str],
    targets: dict[str, int] | None = None,
    restart: str = 'done',
    back: bool = True,
) -> Drill:
    plan = Plan('drill', '', {'server': UUID, 'targets': targets or {}}, ())
    loss = [
        item('snapshot', 'take-snapshot', 0, 2, detail=SNAPSHOT),
        item('cut', 'cut-guest', 10, 11),
        item('close', 'close-session', 11, 14),
    ]
    steps = (
        Step('record', '', (), number=1),
        Step('claim', '', (), number=1),
        Step('canary', '', (), number=3),
        Step('attach', '', (), number=4),
    )
    items = [
        item('record', 'record-relations', 20, 21),
        item('claim', 'claim-server', 21, 22),
        item('canary', 'restart-server', 22, 40, state=restart),
    ]
    return Drill(
        part('drill', plan, loss),
        tuple(EventRecord(at(s), kind, '', '', kind) for s, kind in events),
        part('disaster', Plan('disaster', '', {}, steps), items)
        if back
        else None,
    )


ALL = ((18.0, 'loss-seen'), (50.0, 'back'))


class Rows(TestCase):
    def test_each_step_is_timed(self) -> None:
        rows = {row.step: row for row in drill.rows(made(*ALL))}
        self.assertEqual(set(drill.STEPS) - {'power'}, set(rows))
        self.assertEqual([s for s in drill.STEPS if s in rows], list(rows))
        self.assertEqual(
            {
                'snapshot': 2.0,
                'loss': 4.0,
                'seen': 8.0,
                'record': 2.0,
                'clean': None,
                'restart': 18.0,
                'attach': None,
                'guests': None,
                'back': 40.0,
            },
            {name: row.seconds for name, row in rows.items()},
        )
        self.assertEqual('timed', rows['restart'].result)
        self.assertEqual('nothing to do', rows['attach'].result)

    def test_a_target_is_met_or_missed(self) -> None:
        found = made(*ALL, targets={'restart': 18, 'back': 39})
        rows = {row.step: row.result for row in drill.rows(found)}
        self.assertEqual(('met', 'missed'), (rows['restart'], rows['back']))
        good, told = drill.verdict(found, 'canary')
        self.assertFalse(good)
        self.assertEqual(
            'FAILED: canary was whole again after 40 s; 1 of 2 targets met; '
            'not as it should be: back.',
            told,
        )
        self.assertEqual(
            (True, f'{UUID} was whole again after 40 s; 0 of 0 targets met.'),
            drill.verdict(made(*ALL)),
        )

    def test_a_loss_that_was_not_seen_fails_it(self) -> None:
        found = made((18.0, 'loss-not-seen'), (50.0, 'back'))
        self.assertFalse(drill.verdict(found)[0])
        self.assertTrue(found.over)

    def test_what_went_wrong_is_no_time(self) -> None:
        found = made(*ALL, restart='failed', targets={'restart': 99})
        (row,) = [r for r in drill.rows(found) if r.step == 'restart']
        self.assertEqual(('1 failed', None), (row.result, row.seconds))

    def test_one_without_an_end_goes_on(self) -> None:
        for found in (
            made(back=False),
            made((18.0, 'loss-seen')),
            made((18.0, 'loss-seen'), (50.0, 'not-back')),
        ):
            self.assertFalse(found.over)
            self.assertIn('not known to be whole', drill.verdict(found)[1])
        again = made((50.0, 'not-back'), (90.0, 'back'), (18.0, 'loss-seen'))
        self.assertTrue(again.over)


class Targets(TestCase):
    def test_the_command_comes_before_the_configuration(self) -> None:
        self.assertEqual(
            {'seen': 120, 'back': 60},
            drill.targets(['back=60'], {'seen': '120', 'back': '1800'}),
        )

    def test_what_is_no_target(self) -> None:
        for word in ('reboot=5', 'back', 'back=soon', 'back=0'):
            self.assertRaises(UsageError, drill.targets, [word], {})


class InTheJournal(TestCase):
    def test_the_way_back_is_known_by_its_snapshot(self) -> None:
        journal = Journal.open(f'sqlite:///{self.folder()}/journal')
        who = {'who': 'anna', 'machine': 'ctl1', 'command': ''}
        subject = Item('take-snapshot:drill', 'take-snapshot', 's', 's')
        loss = Plan(
            'drill', 'loss', {'server': UUID, 'targets': {}},
            (Step('snapshot', '', (subject,)),),
        )  # fmt: skip
        self.assertIsNone(drill.newest(journal))
        run = journal.create_run(loss, **who)
        found = drill.newest(journal, UUID)
        assert found is not None
        self.assertEqual((run, '', None), (
            found.loss.run.id, found.snapshot, found.back))  # fmt: skip
        self.assertIsNone(drill.newest(journal, UUID[:-1]))
        with journal.carrying_out(run) as writer:
            writer.write(0, state='done', detail=SNAPSHOT)
        other = Plan('disaster', '', {'snapshot': '/s'}, ())
        ours = Plan('disaster', '', {'snapshot': SNAPSHOT}, ())
        journal.create_run(other, **who)
        back = journal.create_run(ours, **who)
        found = drill.of_run(journal, run)
        assert found.back is not None
        self.assertEqual(back, found.back.run.id)
        self.assertRaises(UsageError, drill.of_run, journal, back)
        journal.tell(run, drill.SEEN, 'seen', who='anna', machine='ctl1')
        told = drill.of_run(journal, run).last(drill.SEEN)
        assert told is not None
        self.assertEqual('seen', told.detail)

    def folder(self) -> str:
        import fixtures

        return str(self.useFixture(fixtures.TempDir()).path)
