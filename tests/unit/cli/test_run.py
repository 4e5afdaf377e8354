# SPDX-License-Identifier: Apache-2.0

"""Runs as an operator types them: carried out, resumed, taken back."""

from __future__ import annotations

import json
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.engine.change import At, Observed
from nova_recovery.engine.plan import Gate, Item
from nova_recovery.exceptions import ChangeFailed, ClaimLost, Conflict
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase
from tests.unit.plans import Move


class Stubborn(Move):
    """Refuses for some servers; can't be taken back for others."""

    refuses: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    already: tuple[str, ...] = ()

    def observe(self, at: At[Any]) -> Observed:
        if at.item.label in self.already:
            return Observed.after('runs there')
        return super().observe(at)

    def apply(self, at: At[Any]) -> str:
        if at.item.label in self.refuses:
            raise ChangeFailed('no valid host')
        return super().apply(at)

    def no_way_back(self, item: Item) -> str:
        return 'it runs there; migrate it' if item.label in self.stays else ''

    def revert(self, at: At[Any]) -> str:
        if at.item.label in self.changed:
            raise Conflict('somebody moved it since')
        return super().revert(at)


class RunTestCase(RunsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.move = Stubborn()
        self.registry['move'] = self.move

    def recover(self, code: int = 0) -> str:
        self.ended(code, 'host', 'recover', '--yes')
        return self.only_run()

    def set_state(self, label: str, state: str, **columns: Any) -> None:
        """Let an item of the only run have ended so."""
        journal, run_id = self.journal(), self.only_run()
        number = {i.label: i.number for i in journal.items(run_id)}[label]
        with journal.carrying_out(run_id) as writer:
            writer.write(number, state=state, **columns)

    def outcomes(self, text: str) -> dict[str, str]:
        return {row['Subject']: row['Outcome'] for row in json.loads(text)}


class CarryOutTest(RunTestCase):
    def test_result_alone_is_on_stdout(self) -> None:
        ended = self.ended(0, 'host', 'recover', '--yes', '-f', 'json')
        self.assertEqual(
            [
                {
                    'Subject': 'np-rcc54',
                    'ID': '',
                    'Outcome': 'done',
                    'Detail': 'claimed',
                },
                {
                    'Subject': 'at3-ui01',
                    'ID': plans.UUID.format(1),
                    'Outcome': 'done',
                    'Detail': 'moved to np-rcc46',
                },
                {
                    'Subject': 'at3-ui02',
                    'ID': plans.UUID.format(2),
                    'Outcome': 'done',
                    'Detail': 'moved to np-rcc46',
                },
            ],
            json.loads(ended.stdout),
        )
        self.assertIn(f'Run {self.only_run()} done: 3 done.', ended.stderr)

    def test_partly_done_is_exit_code_4_and_says_how_to_go_on(self) -> None:
        self.move.refuses = ('at3-ui02',)
        ended = self.ended(
            exit_codes.PARTLY, 'host', 'recover', '--yes', '-f', 'json'
        )
        self.assertEqual(
            {'np-rcc54': 'done', 'at3-ui01': 'done', 'at3-ui02': 'failed'},
            self.outcomes(ended.stdout),
        )
        run_id = self.only_run()
        self.assertIn('partly done: 1 failed, 2 done.', ended.stderr)
        for verb in ('resume', 'undo'):
            self.assertIn(f'nova-recovery run {verb} {run_id}', ended.stderr)

    def test_somebody_else_took_the_claim(self) -> None:
        def claim(item: Item) -> None:
            if item.label == 'at3-ui01':
                raise ClaimLost('np-rcc54 is claimed by berta')

        self.claim = claim
        ended = self.ended(exit_codes.REFUSED, 'host', 'recover', '--yes')
        self.assertIn('np-rcc54 is claimed by berta', ended.stderr)
        self.assertEqual(
            f'nova-recovery run={self.only_run()} by=anna@ctl1', self.marker
        )

    def test_who_did_it_is_in_the_journal_without_passwords(self) -> None:
        self.useFixture(fixtures.EnvironmentVariable('OS_USERNAME', 'admin'))
        self.ended(0, '--os-password', 'geheim', 'host', 'recover', '--yes')
        (found,) = self.journal().runs()
        self.assertEqual(('anna/admin', 'ctl1'), (found.who, found.machine))
        self.assertTrue(
            found.command.startswith(
                "nova-recovery --os-password '***' host recover --yes"
            ),
            found.command,
        )

    def test_a_wrong_plan_changes_nothing_and_has_no_run(self) -> None:
        claim, moves = self.plan.steps
        self.plan = plans.without(self.plan, steps=(moves, claim))
        for words in (('--yes',), ('--dry-run',)):
            ended = self.ended(exit_codes.ERROR, 'host', 'recover', *words)
            self.assertIn(
                'follows host:np-rcc54, which comes later', ended.stderr
            )
            self.assertIn('Nothing was changed', ended.stderr)
        self.assertEqual([], self.journal().runs())

    def test_an_override_is_in_the_journal_with_its_reason(self) -> None:
        self.plan = plans.make(2, (plans.LOCAL_DISK,))
        self.ended(
            0,
            'host',
            'recover',
            '--yes',
            '--override',
            'disk-reachable:at3-ui04=the owner has the image',
        )
        (gate,) = self.journal().plan(self.only_run()).gates
        self.assertEqual(
            ('overridden', 'the owner has the image'),
            (gate.state, gate.reason),
        )

    def test_an_approved_plan_file_runs_with_its_digest(self) -> None:
        path = str(self.folder / 'plan.json')
        self.ended(0, 'host', 'recover', '--plan-file', path)
        digest = self.plan.digest[:16]
        self.ended(0, 'plan', 'apply', path, '--approve', digest)
        (found,) = self.journal().runs()
        self.assertEqual(self.plan.digest, found.digest)

    def test_a_journal_that_cant_be_opened_comes_before_the_question(
        self,
    ) -> None:
        self.conf.write_text(
            '[journal]\nconnection = sqlite:////proc/journal.sqlite\n'
        )
        ended = self.ended(exit_codes.ERROR, 'host', 'recover', '--yes')
        self.assertIn('journal', ended.stderr)


class ResumeTest(RunTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.move.refuses = ('at3-ui02',)
        self.run_id = self.recover(exit_codes.PARTLY)

    def test_what_is_left_is_shown_and_carried_out(self) -> None:
        self.move.refuses = ()
        ended = self.ended(
            0, 'run', 'resume', self.run_id[:4], '--yes', '-f', 'json'
        )
        shown = ended.stderr.partition(f'Run {self.run_id}')[0]
        self.assertIn('at3-ui02  3f57699a', shown)
        self.assertNotIn('at3-ui01', shown)
        self.assertIn('server:' + plans.UUID.format(1), self.touched)
        self.assertEqual(
            {'np-rcc54': 'done', 'at3-ui01': 'done', 'at3-ui02': 'done'},
            self.outcomes(ended.stdout),
        )

    def test_it_is_asked_for(self) -> None:
        ended = self.ended(exit_codes.REFUSED, 'run', 'resume', self.run_id)
        self.assertIn('There is no terminal to ask', ended.stderr)

    def test_a_hard_gate_stops_it(self) -> None:
        self.gates = (plans.PINNED,)
        ended = self.ended(
            exit_codes.REFUSED, 'run', 'resume', self.run_id, '--yes'
        )
        self.assertIn('Refused by 1 gate.', ended.stderr)

    def test_a_soft_gate_about_what_the_run_changes_is_advice(self) -> None:
        self.gates = (
            Gate('zone-and-group', 'web', 'soft', 'refused', 'it is there'),
        )
        self.move.refuses = ()
        ended = self.ended(0, 'run', 'resume', self.run_id, '--yes')
        self.assertIn('advice     zone-and-group', ended.stderr)

    def test_other_soft_gates_are_asked_as_they_are(self) -> None:
        """Proof that was there when the run began may be gone by now."""
        self.move.refuses = ()
        words = ('run', 'resume', self.run_id, '--yes')
        for name, state in (
            ('source-fenced', 'unknown'), ('cell-alive', 'refused'),
            ('dump-named', 'refused'), ('snapshot-older', 'refused'),
            ('hosts-off', 'refused'),
        ):  # fmt: skip
            self.gates = (Gate(name, 'np-rcc54', 'soft', state, 'no answer'),)
            ended = self.ended(exit_codes.REFUSED, *words)
            self.assertIn(f'--override {name}:np-rcc54=REASON', ended.stderr)
        self.ended(
            0, *words, '--override', 'hosts-off:np-rcc54=I pulled its plug'
        )
        event = next(
            one
            for one in self.journal().events(self.run_id)
            if one.kind == 'overridden'
        )
        self.assertEqual('hosts-off:np-rcc54: I pulled its plug', event.detail)

    def test_nothing_is_left(self) -> None:
        self.move.refuses = ()
        self.ended(0, 'run', 'resume', self.run_id, '--yes')
        ended = self.ended(0, 'run', 'resume', self.run_id, '-f', 'json')
        self.assertIn('Nothing is left', ended.stderr)
        self.assertEqual(3, len(json.loads(ended.stdout)))

    def test_after_a_long_question_the_gates_are_asked_again(self) -> None:
        self.move.refuses = ()
        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.cli.approval.STALE', -1)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cli.approval.confirm',
                lambda *args: setattr(self, 'gates', (plans.PINNED,)),
            )
        )
        ended = self.ended(
            exit_codes.REFUSED, 'run', 'resume', self.run_id, '--yes'
        )
        self.assertIn('Refused by 1 gate.', ended.stderr)

    def test_what_was_taken_back_in_part_is_not_decided_about(self) -> None:
        journal = self.journal()
        self.set_state('np-rcc54', 'reverting')
        ended = self.ended(
            exit_codes.REFUSED, 'run', 'resume', self.run_id, '--yes',
            '--skip', 'at3-ui02=it runs',
        )  # fmt: skip
        self.assertIn('run undo', ended.stderr)
        states = {i.label: i.state for i in journal.items(self.run_id)}
        self.assertEqual('failed', states['at3-ui02'])

    def test_a_run_that_was_taken_back(self) -> None:
        self.ended(0, 'run', 'undo', self.run_id, '--yes')
        ended = self.ended(
            exit_codes.REFUSED, 'run', 'resume', self.run_id, '--yes'
        )
        self.assertIn('make a new plan', ended.stderr)


class UndoTest(RunTestCase):
    def test_everything_is_taken_back(self) -> None:
        run_id = self.recover()
        ended = self.ended(0, 'run', 'undo', run_id, '--yes', '-f', 'json')
        self.assertLess(
            ended.stderr.index('at3-ui02'), ended.stderr.index('np-rcc54  ')
        )
        self.assertEqual(
            {'reverted'}, set(self.outcomes(ended.stdout).values())
        )
        self.assertIn(f'Run {run_id} taken back: 3 reverted.', ended.stderr)
        self.assertNotIn('run resume', ended.stderr)

    def test_what_stays_is_told_before_with_why(self) -> None:
        run_id = self.recover()
        self.move.stays = ('at3-ui01',)
        ended = self.ended(0, 'run', 'undo', run_id, '--dry-run', '-f', 'json')
        self.assertRegex(
            ended.stderr, 'at3-ui01 3f57699a[^ ]*: it runs there; migrate'
        )
        self.assertIn('stands on it and stays', ended.stderr)
        self.assertEqual(
            {'at3-ui02': 'to revert', 'at3-ui01': 'kept', 'np-rcc54': 'kept'},
            self.outcomes(ended.stdout),
        )

    def test_what_nova_did_itself_stands_on_ours_and_that_is_told(
        self,
    ) -> None:
        self.move.once, self.move.already = True, ('at3-ui01',)
        run_id = self.recover()
        words = ('run', 'undo', run_id, '-f', 'json')
        ended = self.ended(0, *words, '--dry-run')
        self.assertIn('stands on it: runs there', ended.stderr)
        self.assertEqual(
            {'at3-ui02': 'to revert', 'np-rcc54': 'kept'},
            self.outcomes(ended.stdout),
        )
        ended = self.ended(exit_codes.PARTLY, *words, '--yes')
        self.assertEqual(
            {
                'at3-ui01': 'already',
                'at3-ui02': 'reverted',
                'np-rcc54': 'kept',
            },
            self.outcomes(ended.stdout),
        )

    def test_a_request_in_doubt_is_looked_at_and_that_is_told(self) -> None:
        self.move.once = True
        run_id = self.recover()
        self.move.stays = ('at3-ui01', 'at3-ui02')
        self.set_state('at3-ui02', 'doubt', notes=None)
        words = ('run', 'undo', run_id, '-f', 'json')
        ended = self.ended(0, *words, '--dry-run')
        self.assertEqual(
            {'at3-ui02': 'to revert', 'at3-ui01': 'kept', 'np-rcc54': 'kept'},
            self.outcomes(ended.stdout),
        )
        ended = self.ended(exit_codes.PARTLY, *words, '--yes')
        self.assertEqual(
            {'at3-ui02': 'reverted', 'at3-ui01': 'kept', 'np-rcc54': 'kept'},
            self.outcomes(ended.stdout),
        )

    def test_somebody_moved_a_server_since(self) -> None:
        run_id = self.recover()
        self.move.changed = ('at3-ui02',)
        ended = self.ended(
            exit_codes.PARTLY, 'run', 'undo', run_id, '--yes', '-f', 'json'
        )
        self.assertEqual(
            {'np-rcc54': 'kept', 'at3-ui01': 'reverted', 'at3-ui02': 'kept'},
            self.outcomes(ended.stdout),
        )
        self.assertNotIn('run resume', ended.stderr)

    def test_an_approval_of_the_run_isnt_one_of_its_undo(self) -> None:
        run_id = self.recover()
        ended = self.ended(
            exit_codes.REFUSED,
            'run',
            'undo',
            run_id,
            '--approve',
            self.plan.digest,
        )
        digest = ended.stderr.partition('digest ')[2].split()[0]
        self.ended(0, 'run', 'undo', run_id, '--approve', digest)

    def test_a_second_undo_finds_nothing(self) -> None:
        run_id = self.recover()
        self.ended(0, 'run', 'undo', run_id, '--yes')
        ended = self.ended(0, 'run', 'undo', run_id, '--yes')
        self.assertIn('Nothing of it is in the cloud.', ended.stderr)


class LookTest(RunTestCase):
    def test_looking_makes_no_journal(self) -> None:
        path = self.folder / 'journal.sqlite'
        ended = self.ended(0, 'run', 'list', '-f', 'json')
        self.assertEqual([], json.loads(ended.stdout))
        self.assertIn(f'no runs: there is no journal {path}', ended.stderr)
        for words in (('show', 'x'), ('resume', 'x'), ('undo', 'x')):
            ended = self.ended(exit_codes.ERROR, 'run', *words)
            self.assertIn('no runs: ', ended.stderr)
        self.assertFalse(path.exists())

    def test_list(self) -> None:
        run_id = self.recover()
        ended = self.ended(0, 'run', 'list', '-f', 'json')
        (row,) = json.loads(ended.stdout)
        self.assertEqual(
            (run_id, 'made-up', 'done', 'anna', 'ctl1', '3/3'),
            (
                row['ID'],
                row['Procedure'],
                row['State'],
                row['Who'],
                row['Machine'],
                row['Done/Total'],
            ),
        )
        self.assertRegex(row['Started'], r'^\d{4}-\d\d-\d\d [\d:]{8}Z$')

    def test_show_tells_what_needs_attention(self) -> None:
        self.move.refuses = ('at3-ui02',)
        run_id = self.recover(exit_codes.PARTLY)
        text = self.ended(0, 'run', 'show', run_id).stdout
        self.assertIn('state      partly: 1 failed, 2 done', text)
        self.assertRegex(text, r'\n  failed    at3-ui02  3f57699a-\S+02 ')
        self.assertNotIn('at3-ui01', text)
        text = self.ended(0, 'run', 'show', run_id, '--items').stdout
        self.assertRegex(text, r'\n  done      at3-ui01 ')

    def test_show_for_scripts(self) -> None:
        run_id = self.recover()
        shown = json.loads(
            self.ended(
                0, 'run', 'show', run_id, '--items', '-f', 'json'
            ).stdout
        )
        self.assertEqual('done', shown['state'])
        self.assertEqual(
            ['done'] * 3, [item['state'] for item in shown['items']]
        )

    def test_watch_ends_with_the_run(self) -> None:
        run_id = self.recover()
        text = self.ended(0, 'run', 'show', run_id, '--watch').stdout
        self.assertIn('done: 3 done', text)

    def test_an_unknown_run_names_those_that_there_are(self) -> None:
        run_id = self.recover()
        for noun, verb, *more in (
            ('run', 'show'),
            ('run', 'resume'),
            ('run', 'undo'),
            ('run', 'report'),
            ('run', 'take', 'over'),
        ):
            words = (verb, *more, 'nonsense')
            if 'over' in words:
                words = (*words, '--reason', 'gone')
            ended = self.ended(exit_codes.ERROR, noun, *words)
            self.assertIn(
                f'{run_id}  recover servers of np-rcc54', ended.stderr
            )

    def test_an_empty_journal(self) -> None:
        self.journal()
        self.assertEqual(
            [], json.loads(self.ended(0, 'run', 'list', '-f', 'json').stdout)
        )
        self.assertIn(
            'no run', self.ended(exit_codes.ERROR, 'run', 'show', 'x').stderr
        )


class HandOverTest(RunTestCase):
    def test_a_run_goes_on_in_the_journal_of_another_controller(self) -> None:
        self.move.refuses = ('at3-ui02',)
        run_id = self.recover(exit_codes.PARTLY)
        path = str(self.folder / 'run.json')
        self.ended(0, 'run', 'export', run_id, path)
        self.conf.write_text(
            f'[journal]\nconnection = sqlite:///{self.folder}/other.sqlite\n'
        )
        ended = self.ended(0, 'run', 'import', path)
        self.assertEqual(run_id, ended.stdout.strip())
        self.move.refuses = ()
        self.ended(0, 'run', 'resume', run_id, '--yes')

    def test_take_over_says_who_and_why(self) -> None:
        run_id = self.recover()
        self.useFixture(fixtures.EnvironmentVariable('SUDO_USER', 'berta'))
        ended = self.ended(
            0, 'run', 'take', 'over', run_id, '--reason', 'ctl1 burnt down'
        )
        self.assertIn('of anna on ctl1 is yours', ended.stderr)
        journal = self.journal()
        self.assertEqual('berta', journal.run(run_id).who)
        event = journal.events(run_id)[-1]
        self.assertEqual('from anna@ctl1: ctl1 burnt down', event.detail)
