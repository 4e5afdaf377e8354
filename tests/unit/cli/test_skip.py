# SPDX-License-Identifier: Apache-2.0

"""run resume --skip: left out, and free for others."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import types
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.cli import run_resume
from nova_recovery.engine import claiming, states
from nova_recovery.engine.change import At, Observed
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Gate, Item, Step
from nova_recovery.exceptions import Ambiguous, UsageError
from tests.base import TestCase
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase

NAME = 'at3-ui01'


class Claim(plans.Claim):
    kind = 'claim-server'


class Changed(plans.Claim):
    """Somebody else was there first."""

    kind = 'reboot-server'

    def observe(self, at: At[Any]) -> Observed:
        return Observed.neither('it is stopped')


class Release(plans.Claim):
    kind = 'release-server'


class TestSkip(RunsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.changes = (Claim(), Changed(), Release())
        self.registry = {one.kind: one for one in self.changes}
        self.plan = dataclasses.replace(
            self.plan,
            steps=tuple(
                Step(one.kind, one.kind, (self.item(one.kind),))
                for one in self.changes
            ),
        )

    def item(self, kind: str) -> Item:
        return dataclasses.replace(plans.server(1, kind), follows=())

    def states(self) -> list[str]:
        return [item.state for item in self.journal().items(self.only_run())]

    def skip(self, code: int) -> None:
        word = f'{NAME}=its owner stopped it'
        self.ended(
            code, 'run', 'resume', self.only_run(), '--skip', word, '--yes'
        )

    def test_the_claim_on_a_server_that_is_left_out_is_given_back(
        self,
    ) -> None:
        self.ended(4, 'host', 'recover', '--yes')
        self.assertEqual(['done', 'conflict', 'blocked'], self.states())
        self.skip(0)
        self.assertEqual(['done', 'skipped', 'done'], self.states())

    def test_giving_back_asks_no_gate(self) -> None:
        self.ended(4, 'host', 'recover', '--yes')
        self.gates = (
            Gate('cell-alive', 'cell1', 'soft', 'refused', '10 of 10'),
        )
        self.skip(0)
        self.assertEqual(['done', 'skipped', 'done'], self.states())

    def test_what_another_controller_ended_is_left_out(self) -> None:
        self.ended(4, 'host', 'recover', '--yes')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.claims.ended', lambda *words: ['host1']
            )
        )
        words = ('run', 'resume', self.only_run(), '--yes')
        told = ' '.join(self.ended(0, *words).stderr.split())
        self.assertIn('another controller ended the run and gave host1', told)
        self.assertEqual(['done', 'skipped', 'skipped'], self.states())
        self.assertIn('Nothing is left', self.ended(0, *words).stderr)

    def test_what_this_controller_gave_back_is_its_own(self) -> None:
        """It was killed before its journal said that it was given back."""
        self.ended(4, 'host', 'recover', '--yes')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.claims.ended', lambda *words: ['host1']
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.engine.journal.Journal.items',
                self.with_release_begun(Journal.items),
            )
        )
        told = self.ended(4, 'run', 'resume', self.only_run(), '--yes').stderr
        self.assertNotIn('another controller', told)
        self.assertEqual('conflict', self.states()[1])

    @staticmethod
    def with_release_begun(really: Any) -> Any:
        def items(journal: Journal, *words: Any, **more: Any) -> Any:
            for record in really(journal, *words, **more):
                if record.kind in claiming.GIVES_BACK:
                    record = dataclasses.replace(record, state=states.SENT)
                yield record

        return items

    def test_a_name_that_several_servers_have_means_none_of_them(self) -> None:
        other = dataclasses.replace(
            plans.server(2, 'reboot-server'), label=NAME, follows=()
        )
        steps = list(self.plan.steps)
        steps[1] = dataclasses.replace(
            steps[1], items=(*steps[1].items, other)
        )
        self.plan = dataclasses.replace(self.plan, steps=tuple(steps))
        self.ended(4, 'host', 'recover', '--yes')
        ended = self.run_program(
            'run', 'resume', self.only_run(), '--skip', f'{NAME}=done',
            '--yes',
        )  # fmt: skip
        self.assertEqual(1, ended.code)
        self.assertIn(plans.UUID.format(2), ended.stderr)
        self.assertNotIn('skipped', self.states())
        self.ended(
            4, 'run', 'resume', self.only_run(), '--yes',
            '--skip', f'{plans.UUID.format(2)}=done',
        )  # fmt: skip
        self.assertEqual(1, self.states().count('skipped'))

    def test_without_a_claim_there_is_nothing_to_give_back(self) -> None:
        self.registry['claim-server'] = Changed()
        self.ended(4, 'host', 'recover', '--yes')
        self.skip(0)
        self.assertEqual(['skipped', 'skipped', 'skipped'], self.states())


class TestHost(RunsTestCase):
    """Two servers on two hosts; of one the claim fails, and all waits."""

    def setUp(self) -> None:
        super().setUp()
        self.registry = {
            'claim-server': Claim(),
            'reset-volume': Changed(),
            'reboot-server': Changed(),
            'watch-boot': Changed(),
            'release-server': Release(),
        }
        self.plan = dataclasses.replace(
            self.plan,
            steps=tuple(
                Step(kind, kind, tuple(self.items(kind)))
                for kind in self.registry
            ),
        )

    def items(self, kind: str) -> Iterator[Item]:
        for number in (1, 2):
            uuid = plans.UUID.format(number)
            server = f'server:{uuid}'
            subject = {
                'reset-volume': f'volume:v{number}',
                'watch-boot': f'boot:{uuid}',
            }.get(kind, server)
            # only what is sent to a host names it
            sent = kind == 'reboot-server'
            yield Item(
                id=f'{kind}:{number}',
                kind=kind,
                subject=subject,
                label=kind,
                data={'host': f'h{number}'} if sent else {},
                follows=() if subject == server else (server,),
            )

    def left_out(self, *words: str) -> list[str]:
        self.ended(4, 'host', 'recover', '--yes')
        run_id = self.only_run()
        self.ended(4, 'run', 'resume', run_id, '--yes', *words)
        return [
            item.id
            for item in self.journal().items(run_id)
            if item.state == 'skipped'
        ]

    def test_all_that_is_left_of_its_servers(self) -> None:
        self.assertEqual(
            ['reset-volume:1', 'reboot-server:1', 'watch-boot:1'],
            self.left_out('--skip-host', 'h1=it is burnt'),
        )
        released = {
            i.id: i.state
            for i in self.journal().items(self.only_run())
            if i.kind == 'release-server'
        }
        self.assertEqual(
            {'release-server:1': 'done', 'release-server:2': 'blocked'},
            released,
        )

    def test_a_server_of_it_may_be_named_too(self) -> None:
        uuid = plans.UUID.format(1)
        found = self.left_out(
            '--skip-host', 'h1=it is burnt', '--skip', f'{uuid}=so is it'
        )
        self.assertEqual(3, len(found))

    def test_nothing_is_left_of_it(self) -> None:
        self.ended(4, 'host', 'recover', '--yes')
        ended = self.ended(
            exit_codes.USAGE, 'run', 'resume', self.only_run(),
            '--skip-host', 'H1=typed wrong', '--yes',
        )  # fmt: skip
        self.assertIn('h1, h2', ended.stderr)


class TestChosen(TestCase):
    """A server is one, whatever is done to it."""

    def items(self) -> Any:
        return [
            types.SimpleNamespace(id=name, label=label, subject=subject)
            for name, label, subject in (
                ('restart', 'web', 'server:u1'),
                ('watch', 'web', 'boot:u1'),
                ('attach', 'data', 'volume:v1'),
                ('other', 'db', 'server:u2'),
            )
        ]

    def chosen(self, word: str) -> list[str]:
        found = run_resume.chosen(
            self.items(), [word], '--skip', about={'attach': 'u1'}
        )
        return [item_id for item_id, reason in found]

    def test_with_its_boot_and_its_volumes(self) -> None:
        for name in ('web', 'u1'):
            self.assertEqual(
                ['restart', 'watch', 'attach'],
                self.chosen(f'{name}=its host is burnt'),
            )

    def test_a_server_of_which_only_a_volume_is_left(self) -> None:
        items = self.items()
        for name in ('web', 'u1'):
            found = run_resume.chosen(
                items[2:3],
                [f'{name}=it is deleted'],
                '--skip',
                known=items,
                about={'attach': 'u1'},
            )
            self.assertEqual([('attach', 'it is deleted')], found)

    def test_whose_volumes_they_are(self) -> None:
        items = tuple(
            Item(name, 'reset-volume', subject, name, data, follows)
            for name, subject, data, follows in (
                ('reset', 'volume:v1', {}, ('server:u1',)),
                (
                    'link',
                    'volume:v2',
                    {'uuid': 'u2'},
                    ('server:u1', 'server:u2'),
                ),
                ('shared', 'volume:v3', {}, ('server:u1', 'server:u2')),
                ('of a host', 'host:h1', {}, ('server:u1',)),
            )
        )
        step = Step('clean', 'clean', items)
        plan = dataclasses.replace(plans.make(), steps=(step,))
        self.assertEqual({'reset': 'u1', 'link': 'u2'}, run_resume.about(plan))

    def test_what_needs_a_back_end_that_is_dead(self) -> None:
        """With the consoles of its servers; the others go on."""
        ends = {'u1': ['ctl@array'], 'u2': ['ctl@ceph']}
        items = [
            Item(f'{kind}:{uuid}', kind, f'{noun}:{uuid}', uuid, data)
            for uuid, some in ends.items()
            for kind, noun, data in (
                ('restart-server', 'server', {'uuid': uuid, 'backends': some}),
                ('watch-boot', 'boot', {'uuid': uuid}),
            )
        ]
        items.append(
            Item(
                'attach',
                'attach-volume',
                'volume:v1',
                'v1',
                {'uuid': 'u1', 'backends': ['ctl@array']},
                ('server:u1',),
            )
        )
        plan = dataclasses.replace(
            plans.make(), steps=(Step('restart', 'restart', tuple(items)),)
        )
        left = [item.id for item in items]
        found = run_resume.of_backends(plan, left, {'ctl@array': 'burnt'})
        self.assertEqual(
            {'restart-server:u1', 'watch-boot:u1', 'attach'}, set(dict(found))
        )
        error = self.assertRaises(
            UsageError, run_resume.of_backends, plan, left, {'ctl': 'burnt'}
        )
        self.assertIn('ctl@array, ctl@ceph', str(error))

    def test_a_volume_alone(self) -> None:
        self.assertEqual(['attach'], self.chosen('data=it is lost'))

    def test_two_of_one_name(self) -> None:
        both = [
            *self.items(),
            types.SimpleNamespace(id='x', label='web', subject='server:u3'),
        ]
        error = self.assertRaises(
            Ambiguous,
            run_resume.chosen, both, ['web=so'], '--skip',
        )  # fmt: skip
        self.assertEqual(('u1', 'u3'), error.candidates)
