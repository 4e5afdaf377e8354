# SPDX-License-Identifier: Apache-2.0

"""What runs come to: who was down for how long, and what is left."""

from __future__ import annotations

import pathlib
from typing import Any

import fixtures

from nova_recovery import changes
from nova_recovery.compat import utc
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.report import picture, servers, shown, story
from nova_recovery.report.servers import Down, Row
from tests.base import TestCase
from tests.unit.report import stories
from tests.unit.report.stories import POWER, Story, UUID


def seconds(since: str, until: str) -> float:
    return (utc(until) - utc(since)).total_seconds()


class StoryTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.story = Story(folder)
        self.addCleanup(self.story.journal.close)

    def report(self, *run_ids: str, since: str = '') -> dict[str, Any]:
        return story.of_runs(
            self.story.journal,
            run_ids,
            self.story.registry,
            now=self.story.clock.now(),
            since=since,
        )

    def rows(self, made: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {row['label']: row for row in made['servers']}

    def restarted(self, run_id: str, number: int) -> str:
        """When the journal says that a server ran."""
        items = self.story.items(run_id)
        return items[f'restart-server:{UUID.format(number)}'].finished_at


class DowntimeTest(StoryTestCase):
    def test_it_is_from_the_power_to_the_second_of_the_journal(self) -> None:
        run_id = self.story.create(stories.disaster(3))
        self.story.run(run_id)
        made = self.report(run_id)
        for number in (1, 2, 3):
            row = self.rows(made)[f'at3-ui{number:04}']
            ran = self.restarted(run_id, number)
            self.assertEqual(
                [(POWER, 'known', ran, False)],
                [
                    (d['since'], d['how'], d['until'], d['seen'])
                    for d in row['down']
                ],
            )
            self.assertEqual(seconds(POWER, ran), row['seconds'])
            self.assertEqual(('restart', True), (row['method'], row['up']))
        lengths = [row['seconds'] for row in made['servers'] if row['down']]
        self.assertEqual(
            {
                'servers': 3,
                'up': 3,
                'down': 0,
                'median': sorted(lengths)[1],
                'longest': max(lengths),
                'total': sum(lengths),
            },
            {k: v for k, v in made['sums'].items() if k != 'items'},
        )

    def test_where_nobody_knows_since_when_it_is_at_least(self) -> None:
        run_id = self.story.create(stories.disaster(1, down_since=''))
        self.story.run(run_id)
        began = self.story.journal.run(run_id).started_at
        row = self.rows(self.report(run_id))['at3-ui0001']
        self.assertEqual(
            seconds(began, self.restarted(run_id, 1)), row['seconds']
        )
        self.assertTrue(shown.downtime(row).startswith('at least '))
        row = self.rows(self.report(run_id, since=POWER))['at3-ui0001']
        self.assertEqual(
            seconds(POWER, self.restarted(run_id, 1)), row['seconds']
        )
        self.assertFalse(row['at_least'])

    def test_a_server_that_never_came_up_is_still_down(self) -> None:
        self.story.restart.fails['at3-ui0002'] = 'no valid host'
        run_id = self.story.create(stories.disaster(3))
        self.story.run(run_id)
        made = self.report(run_id)
        row = self.rows(made)['at3-ui0002']
        self.assertEqual('at3-ui0002', made['servers'][0]['label'])
        self.assertEqual((False, 'failed'), (row['up'], row['state']))
        (down,) = row['down']
        end = self.story.journal.run(run_id).finished_at
        self.assertEqual('', down['until'])
        # its end is in the event, which is written right after
        self.assertLess(seconds(end, down['last']), 2)
        self.assertTrue(shown.downtime(row).startswith('at least '))
        drawn = picture.of_report(made)
        lanes = {lane.name: lane for lane in drawn.lanes} if drawn else {}
        self.assertTrue(lanes['at3-ui0002'].open)
        self.assertIsNone(lanes['at3-ui0002'].up)
        self.assertEqual('not up', lanes['at3-ui0002'].note)
        self.assertFalse(lanes['at3-ui0001'].open)

    def test_who_runs_and_does_not_boot_is_not_up(self) -> None:
        self.story.boot.fails['at3-ui0001'] = 'kernel panic'
        run_id = self.story.create(stories.disaster(1))
        self.story.run(run_id)
        row = self.rows(self.report(run_id))['at3-ui0001']
        self.assertEqual(
            (False, 'failed', 'kernel panic'),
            (row['up'], row['state'], row['detail']),
        )

    def test_who_ran_already_was_down_at_most_until_then(self) -> None:
        self.story.restart.there.add('at3-ui0001')
        run_id = self.story.create(stories.disaster(1))
        self.story.run(run_id)
        row = self.rows(self.report(run_id))['at3-ui0001']
        self.assertTrue(shown.downtime(row).startswith('at most '))
        # and if nobody knows since when, nothing is known
        run_id = self.story.create(stories.disaster(1, down_since=''))
        self.story.run(run_id)
        self.assertEqual(
            [], self.rows(self.report(run_id))['at3-ui0001']['down']
        )

    def test_a_host_that_is_down_takes_its_servers_along(self) -> None:
        run_id = self.story.create(recovery())
        self.story.run(run_id)
        rows = self.rows(self.report(run_id))
        ran = self.story.items(run_id)['evacuate-server:1'].finished_at
        self.assertEqual(seconds(POWER, ran), rows['www']['seconds'])
        self.assertEqual(
            ('evacuate', 'np-rcc54', 'np-rcc46'),
            tuple(rows['www'][name] for name in ('method', 'host', 'target')),
        )
        # who was stopped stays so, and was not down
        self.assertEqual(
            ([], None, 'done'),
            tuple(rows['old'][name] for name in ('down', 'up', 'state')),
        )

    def test_who_is_rebooted_is_down_from_the_request_on(self) -> None:
        run_id = self.story.create(stories.repair(7))
        self.story.run(run_id)
        (down,) = self.rows(self.report(run_id))['at3-ui0007']['down']
        item = self.story.items(run_id)[f'reboot-server:{UUID.format(7)}']
        self.assertEqual(
            (item.started_at, 'sent', item.finished_at),
            (down['since'], down['how'], down['until']),
        )


class SeveralTest(StoryTestCase):
    def test_what_one_run_left_down_another_brought_up(self) -> None:
        self.story.restart.fails['at3-ui0002'] = 'no valid host'
        first = self.story.create(stories.disaster(3))
        self.story.run(first)
        self.story.clock.wait(hours=3)
        second = self.story.create(stories.repair(2), who='berta')
        self.story.run(second)
        made = self.report(second, first, second)
        self.assertEqual(
            [first, second], [one['run']['id'] for one in made['runs']]
        )
        row = self.rows(made)['at3-ui0002']
        item = self.story.items(second)[f'reboot-server:{UUID.format(2)}']
        self.assertEqual(seconds(POWER, item.finished_at), row['seconds'])
        self.assertEqual(
            (True, 'done', [first, second], 1),
            (row['up'], row['state'], row['runs'], len(row['down'])),
        )
        (failure,) = made['failures']
        self.assertEqual(second, failure['mended_by'])
        self.assertEqual('partly, then done: all 3 servers run again',
                         shown.verdict(made))  # fmt: skip

    def test_who_is_rebooted_again_was_down_twice(self) -> None:
        first = self.story.create(stories.disaster(1))
        second = self.story.create(stories.repair(1))
        self.story.run(first)
        self.story.clock.wait(minutes=30)
        self.story.run(second)
        row = self.rows(self.report(first, second))['at3-ui0001']
        self.assertEqual(['known', 'sent'], [d['how'] for d in row['down']])
        item = self.story.items(second)[f'reboot-server:{UUID.format(1)}']
        self.assertEqual(
            seconds(POWER, self.restarted(first, 1))
            + seconds(item.started_at, item.finished_at),
            row['seconds'],
        )

    def test_an_undo_does_not_move_when_it_was_up(self) -> None:
        run_id = self.story.create(recovery())
        self.story.run(run_id)
        ended = self.story.journal.events(run_id)[-1].at
        self.story.clock.wait(hours=2)
        self.story.evacuate.kept = 'it runs there'
        self.story.undo(run_id)
        row = self.rows(self.report(run_id))['www']
        self.assertEqual('kept', self.story.items(run_id)[
            'evacuate-server:1'].state)  # fmt: skip
        self.assertEqual(ended, row['down'][0]['until'])
        self.assertTrue(row['down'][0]['seen'])


class SessionsTest(StoryTestCase):
    def test_between_a_kill_and_the_resume_nothing_was_done(self) -> None:
        self.story.restart.kills.add('at3-ui0003')
        run_id = self.story.create(stories.disaster(4))
        self.story.killed(run_id)
        dead = self.report(run_id)
        self.assertEqual('killed', dead['runs'][0]['run']['state'])
        last = max(
            time
            for item in self.story.items(run_id).values()
            for time in (item.started_at, item.finished_at)
        )
        (only,) = dead['runs'][0]['sessions']
        self.assertEqual(('killed', last), (only['ended'], only['until']))
        self.story.clock.wait(minutes=40)
        self.story.run(run_id)
        made = self.report(run_id)
        first, second = made['runs'][0]['sessions']
        self.assertEqual(only, first)
        self.assertEqual(
            ('resumed', 'finished'), (second['began'], second['ended'])
        )
        self.assertGreater(seconds(first['until'], second['since']), 2400)
        # which is a break in the picture, that a bar goes across
        drawn = picture.of_report(made)
        assert drawn is not None
        self.assertIn('40 min', ' '.join(text for _, text in drawn.breaks))
        row = self.rows(made)['at3-ui0003']
        self.assertGreater(row['seconds'], 2400)
        self.assertEqual(
            seconds(POWER, self.restarted(run_id, 3)), row['seconds']
        )

    def test_a_clock_that_was_ahead_killed_nothing(self) -> None:
        run_id = self.story.create(stories.disaster(2))
        self.story.run(run_id)
        # who reads it is an hour behind who carried it out
        self.story.clock.wait(hours=-1)
        (only,) = self.report(run_id)['runs'][0]['sessions']
        self.assertEqual('finished', only['ended'])

    def test_what_is_left_leads_on(self) -> None:
        self.story.restart.kills.add('at3-ui0003')
        run_id = self.story.create(stories.disaster(4))
        self.story.killed(run_id)
        left = self.report(run_id)['left']
        self.assertEqual(
            [
                f'openstack recovery run resume {run_id}',
                f'openstack recovery run undo {run_id}',
                f'openstack recovery server reboot {UUID.format(0xFFF1)}',
            ],
            [one['command'] for one in left if one['command']],
        )
        self.story.run(run_id)
        self.assertEqual(
            ['Left out'], [o['what'] for o in self.report(run_id)['left']]
        )

    def test_who_decided_what(self) -> None:
        self.story.restart.fails['at3-ui0001'] = 'no valid host'
        run_id = self.story.create(stories.disaster(2))
        self.story.run(run_id)
        item = f'restart-server:{UUID.format(1)}'
        self.story.journal.skip(
            run_id, item, who='berta', machine='ctl2', reason='disk is gone'
        )
        first, second = self.report(run_id)['decisions']
        self.assertEqual(
            ('anna', 'ctl1', 'snapshot-age',
             'nothing was deployed since yesterday'),
            (first['who'], first['machine'], first['about'], first['reason']),
        )  # fmt: skip
        self.assertEqual(
            ('berta', 'ctl2', 'skipped'),
            (second['who'], second['machine'], second['what']),
        )
        self.assertIn('disk is gone', second['reason'])

    def test_which_program_and_which_cloud(self) -> None:
        run_id = self.story.create(stories.disaster(1))
        self.story.run(run_id)
        run = self.report(run_id)['runs'][0]['run']
        self.assertEqual('practice', run['cloud'])
        self.assertEqual(1, len(run['versions']))
        self.assertRegex(run['versions'][0], r'^nova-recovery \d')

    def test_a_run_of_another_version_is_told_all_the_same(self) -> None:
        run_id = self.story.create(stories.disaster(1))
        self.story.run(run_id)
        # whose items have not what ours say something of
        self.story.registry = changes.registry()
        wave = self.report(run_id)['runs'][0]['steps'][1]
        self.assertEqual([1, 0], [len(i['changes']) for i in wave['items']])
        self.story.registry = {}
        row = self.rows(self.report(run_id))['at3-ui0001']
        self.assertEqual(('done', []), (row['state'], row['down']))

    def test_a_run_that_was_never_carried_out(self) -> None:
        run_id = self.story.create(stories.disaster(2))
        made = self.report(run_id)
        self.assertIsNone(picture.of_report(made))
        self.assertEqual(['ready'], [r['run']['state'] for r in made['runs']])
        self.assertEqual(2, made['sums']['down'])


class ManyTest(StoryTestCase):
    def test_a_thousand_servers_fit_into_one_picture(self) -> None:
        """Bars by wave, and each that is not up to be pointed at."""
        self.story.restart.fails['at3-ui0437'] = 'no valid host'
        run_id = self.story.create(stories.disaster(1000))
        self.story.run(run_id)
        made = self.report(run_id)
        drawn = picture.of_report(made)
        assert drawn is not None
        self.assertEqual(20, len(drawn.groups))
        self.assertEqual(
            [f'reboot or start, wave {n} of 20' for n in range(1, 21)],
            [group.title for group in drawn.groups],
        )
        self.assertLess(drawn.height, 1700)
        bars = sum(
            d.count('M')
            for group in drawn.groups
            for look, d in group.paths
            if look == 'down'
        )
        self.assertEqual(999, bars)
        (lane,) = [one for one in drawn.lanes if one.open]
        self.assertEqual('at3-ui0437', lane.name)


class SumsTest(TestCase):
    def test_the_median_of_two_is_between_them(self) -> None:
        rows = [
            Row(
                f'server:{minutes}',
                '',
                down=[
                    Down(
                        '2026-03-01T14:00:00.000Z',
                        'known',
                        f'2026-03-01T14:{minutes}:00.000Z',
                    )
                ],
            )
            for minutes in (10, 30)
        ]
        self.assertEqual(20 * 60, servers.sums(rows)['median'])
        self.assertIsNone(servers.sums([])['median'])


class MethodsTest(TestCase):
    def test_what_starts_a_server_says_how(self) -> None:
        """But the start of one that was moved, which says move before it."""
        every = changes.registry().values()
        starting = {one.kind: one.method for one in every if one.starts}
        self.assertEqual(
            {
                'evacuate-server': 'evacuate',
                'reboot-guest': 'reboot inside',
                'reboot-server': 'reboot',
                'restart-server': 'restart',
                'start-server': 'start',
            },
            starting,
        )
        self.assertEqual(
            {'move-record': 'move'},
            {o.kind: o.method for o in every if o.method and not o.starts},
        )


def recovery() -> Plan:
    """A host is dead; of its two servers one was stopped."""

    def item(kind: str, number: int, label: str, **data: Any) -> Item:
        where = {'source': 'np-rcc54', 'target': 'np-rcc46'}
        return Item(
            f'{kind}:{number}',
            kind,
            f'server:{UUID.format(number)}',
            label,
            {**where, 'cell': 'cell1', **data},
            ('host:np-rcc54',),
        )

    claim = claiming.host('np-rcc54', 'cell1', 7, {'disabled': 0}, 4711)
    return Plan(
        'host-recover',
        'recover 2 servers of np-rcc54',
        {},
        claiming.around(
            [claim],
            [
                Step(
                    'evacuate',
                    'evacuate through nova',
                    tuple(
                        item('evacuate-server', number, label)
                        for number, label in ((1, 'www'), (2, 'old'))
                    ),
                ),
                Step(
                    'verify',
                    'verify',
                    (
                        item('verify-server', 1, 'www', running=True),
                        item('verify-server', 2, 'old', running=False),
                    ),
                ),
            ],
        ),
        created_at='2026-03-01T14:10:00Z',
        down_since={'host:np-rcc54': POWER},
    )
