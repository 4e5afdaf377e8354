# SPDX-License-Identifier: Apache-2.0

"""Rules on trial: confirmed by a new connection, or taken back."""

from __future__ import annotations

from typing import Any
from unittest import mock

import fixtures

from nova_recovery.changes import host_rules
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict, OutcomeUnknown
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from tests.unit.at import at
from tests.unit.changes.test_host_uid import HostCase, Hosts, STARTED, status

INPUT, MINE = 'iptables:filter:INPUT', 'iptables:filter:mine'
SEEN = ['ACCEPT', '-j neutron-a', '-j old']
WANTED = ['DROP', '-j neutron-old', '-j new']
RUN = f'{at(None).run_id}-rules'
APPLY, UNDO = f'start {RUN} rules apply', f'start {RUN}-undo rules apply'


def listed(chain: Any, **why: str) -> dict[str, Any]:
    return {'chains': {INPUT: chain}, 'why': why}


class Fleet(Hosts):
    """:ivar looked: the runs whose status was asked"""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        super().__init__(answers)
        self.looked: list[str] = []

    def status(self, host: str, run: str) -> Answer:
        self.looked.append(run)
        return super().status(host, run)

    def run(self, host: str, verb: str, data: Any = None, *_more: Any,
            anew: bool = False) -> Answer:  # fmt: skip
        assert anew == (verb == 'rules confirm'), verb
        return super().run(host, verb, data)


class Restore(HostCase):
    change = host_rules.RestoreRules()

    def item(self) -> Item:
        return self.made(
            'restore-rules', seconds=60, chains={INPUT: [SEEN, WANTED]}
        )

    def where(self, begun: bool = False, **answers: list[Any]) -> Any:
        found = self.at(self.item(), begun)
        verbs = {
            verb.replace('_', ' '): some for verb, some in answers.items()
        }
        if 'apply' in verbs:
            verbs[APPLY] = verbs.pop('apply')
        if 'undo' in verbs:
            verbs[UNDO] = verbs.pop('undo')
        self.hosts = found.cloud.fleet = Fleet(verbs)
        if begun:
            found.image = {'chains': {INPUT: SEEN}}
        return found

    def waiting(self, token: str | None) -> dict[str, Any]:
        progress = {'token': token} if token else None
        return {**status('running'), 'progress': progress}

    def test_the_rules_of_others_may_have_changed(self) -> None:
        for now, state in (
            (SEEN, State.BEFORE),
            (['ACCEPT', '-j neutron-b', '-j old'], State.BEFORE),
            (['DROP', '-j new'], State.AFTER),
            (['ACCEPT', '-j else'], State.NEITHER),
            (None, State.NEITHER),
        ):
            where = self.where(rules_list=[listed(now)])
            self.assertIs(state, self.change.observe(where).state, now)
        where = self.where(rules_list=[listed(None, iptables='locked')])
        self.assertIs(State.UNKNOWN, self.change.observe(where).state)

    def test_what_was_begun_is_as_the_host_says(self) -> None:
        for found, now, state in (
            (status('running'), None, State.UNDERWAY),
            # killed while it waited: nobody has confirmed it
            (status('lost'), None, State.BEFORE),
            (status('done', 4, kept=False), SEEN, State.BEFORE),
            (status('done', 0, kept=True), WANTED, State.AFTER),
            (status('unknown'), SEEN, State.BEFORE),
        ):
            where = self.where(True, status=[found], rules_list=[listed(now)])
            self.assertIs(state, self.change.observe(where).state, found)

    def test_it_is_confirmed_once_it_is_set_by_a_new_connection(self) -> None:
        where = self.where(
            True,
            status=[
                self.waiting(None),
                self.waiting('7'),
                self.waiting('7'),
                status('done', 0, kept=True),
            ],
            rules_confirm=[{'first': True}],
        )
        self.assertIn('new connection', self.change.follow(where))
        self.assertEqual(1, self.hosts.asked.count('rules confirm'))

    def test_the_word_of_before_is_none_for_what_was_begun_again(self) -> None:
        where = self.where(
            True,
            status=[
                self.waiting('7'),
                self.waiting('9'),
                status('done', 0, kept=True),
            ],
            rules_confirm=[{'first': False}, {'first': True}],
        )
        self.change.follow(where)
        self.assertEqual(2, self.hosts.asked.count('rules confirm'))

    def test_nobody_gets_in_and_the_host_takes_it_back(self) -> None:
        away = Answer('c1', answer.DOUBT, detail='in doubt, unreachable')
        where = self.where(
            True,
            status=[
                self.waiting('7'),
                away,
                self.waiting('7'),
                status('done', 4, kept=False),
            ],
            rules_confirm=[away, away],
        )
        error = self.assertRaises(ChangeFailed, self.change.follow, where)
        self.assertIn('nobody confirmed within 60 s', str(error))
        self.assertIn('unreachable', str(error))

    def test_a_host_that_is_silent_for_long_is_in_doubt(self) -> None:
        # each look at one that is silent takes as long as it may
        clock = iter(range(0, 10**6, 250))
        self.useFixture(
            fixtures.MockPatchObject(
                host_rules, 'time', mock.Mock(monotonic=lambda: next(clock))
            )
        )
        away = Answer('c1', answer.DOUBT, detail='in doubt, unreachable')
        found = self.waiting(None)
        where = self.where(True, status=[away, away, found] + [away] * 3)
        error = self.assertRaises(OutcomeUnknown, self.change.follow, where)
        self.assertIn('unreachable', str(error))
        self.assertEqual([], self.hosts.answers['status'])

    def test_a_tool_that_refuses(self) -> None:
        end = {'event': 'error', 'text': 'iptables-restore: line 6'}
        where = self.where(True, status=[status('done', 1, **end)])
        error = self.assertRaises(ChangeFailed, self.change.follow, where)
        self.assertIn('line 6', str(error))

    def test_a_host_that_was_rebooted_under_it_begins_again(self) -> None:
        where = self.where(
            True,
            status=[status('lost'), status('done', 0, kept=True)],
            apply=[STARTED],
        )
        self.assertIn('kept', self.change.follow(where))

    def test_what_was_kept_and_is_gone_is_set_anew(self) -> None:
        done = {'started': False, 'state': 'done'}
        kept = status('done', 0, kept=True)
        where = self.where(
            True,
            apply=[done],
            rules_list=[listed(SEEN)],
            status=[self.waiting('7'), kept, kept],
            rules_confirm=[{'first': True}],
        )
        again = f'start {RUN}-1 rules apply'
        self.hosts.answers[again] = [STARTED]
        self.assertIn('on trial', self.change.apply(where))
        self.assertIn('kept', self.change.follow(where))
        # also by who goes on with it
        self.assertEqual({RUN: f'{RUN}-1'}, where.notes)
        self.assertEqual(f'{RUN}-1', where.cloud.fleet.looked[-1])
        where.cloud.fleet.answers['rules list'] = [listed(SEEN)]
        self.assertIs(State.BEFORE, self.change.observe(where).state)
        self.assertEqual([f'{RUN}-1'] * 3, where.cloud.fleet.looked)

    def test_what_is_set_is_not_set_once_more(self) -> None:
        where = self.where(
            True,
            apply=[{'started': False, 'state': 'done'}],
            rules_list=[listed(WANTED)],
        )
        self.assertEqual('it is done', self.change.apply(where))
        self.assertEqual({}, where.notes)

    def test_what_is_not_shown_is_not_kept(self) -> None:
        where = self.where(
            True,
            apply=[{'started': False, 'state': 'done'}],
            rules_list=[listed(None, iptables='locked')],
        )
        error = self.assertRaises(OutcomeUnknown, self.change.apply, where)
        self.assertIn('locked', str(error))

    def test_back_by_the_same_way_or_not_over_somebody_else(self) -> None:
        done = status('done', 0, kept=True)
        where = self.where(
            True,
            status=[done, self.waiting('8'), done],
            rules_list=[listed(['DROP', '-j neutron-b', '-j new'])],
            rules_confirm=[{'first': True}],
            undo=[STARTED],
        )
        self.assertIn('kept', self.change.revert(where))
        for now, ends in ((SEEN, None), (['ACCEPT', '-j else'], Conflict)):
            where = self.where(True, status=[done], rules_list=[listed(now)])
            if ends:
                self.assertRaises(ends, self.change.revert, where)
            else:
                self.assertIn('as they were', self.change.revert(where))

    def test_it_is_told_line_by_line(self) -> None:
        item = self.made(
            'restore-rules',
            seconds=60,
            chains={INPUT: [SEEN, WANTED], MINE: [None, ['-', '-j ACCEPT']]},
        )
        self.assertEqual(
            [
                f'~ {INPUT}',
                '    - policy ACCEPT',
                '    - -j old',
                '    + policy DROP',
                '    + -j new',
                f'+ {MINE}',
                '    + the chain',
                '    + -j ACCEPT',
            ],
            self.change.describe(item),
        )
