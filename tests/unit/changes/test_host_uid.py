# SPDX-License-Identifier: Apache-2.0

"""What is done on hosts, by what these answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.changes import host_accounts, host_owners, host_services
from nova_recovery.engine import states
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.exceptions import ChangeFailed, Conflict, OutcomeUnknown
from nova_recovery.fleet import answer, runs
from nova_recovery.fleet.answer import Answer
from tests import base
from tests.unit.at import at

HOME = '/var/lib/nova-recovery'


class Hosts:
    """A fleet of one host, whose answers the test has written down.

    :ivar asked: verbs, in order
    """

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.machine = 'abc'

    def identity(self, host: str) -> Any:
        return SimpleNamespace(machine_id=self.machine)

    def run(self, host: str, verb: str, data: Any = None) -> Answer:
        self.asked.append(verb)
        found = self.answers[verb].pop(0)
        if isinstance(found, Answer):
            return found
        return Answer(host, answer.DONE, found)

    def several(self, host: str, *calls: Any) -> Answer:
        parts = []
        for verb, data in calls:
            found = self.run(host, verb, data)
            if found.state != answer.DONE:
                return found
            parts.append(found.result)
        return Answer(host, answer.DONE, {'answers': parts})

    def status(self, host: str, run: str) -> Answer:
        return self.run(host, 'status')


def status(state: str, code: int | None = None, **end: Any) -> dict[str, Any]:
    return {
        'state': state,
        'code': code,
        'end': end or None,
        'progress': None,
        'lines': end.pop('lines', []),
    }


STOPPED = {'stopped': []}
STARTED = {'started': True, 'state': 'running'}
BEGIN = f'start {at(mock.Mock()).run_id}-owners-0 owners change'


class HostCase(base.TestCase):
    def made(self, kind: str, **data: Any) -> Item:
        return Item(
            f'{kind}:c1',
            kind,
            'host:c1',
            'c1',
            {'host': 'c1', 'machine_id': 'abc', 'home': HOME, **data},
        )

    def at(self, item: Item, begun: bool, **answers: list[Any]) -> Any:
        self.hosts = Hosts(
            {verb.replace('_', ' '): some for verb, some in answers.items()}
        )
        cloud = mock.Mock(fleet=self.hosts)
        cloud.conf.fleet.home = HOME
        # no time passes
        stopping = mock.Mock(wait=lambda seconds: False)
        image = {'seen': True} if begun else None
        return at(item, cloud, image=image, stopping=stopping)


class Accounts(HostCase):
    change = host_accounts.SetAccounts()

    def item(self) -> Item:
        return self.made('set-accounts', uid={'nova': [112, 108]}, gid={})

    def seen(self, number: int) -> dict[str, Any]:
        return {'users': {'nova': {'uid': number}}, 'groups': {}}

    def observed(self, begun: bool, **answers: list[Any]) -> Observed:
        return self.change.observe(self.at(self.item(), begun, **answers))

    def test_before_after_and_neither_by_what_the_plan_saw(self) -> None:
        for number, state in (
            (112, State.BEFORE),
            (108, State.AFTER),
            (200, State.NEITHER),
        ):
            found = self.observed(False, accounts_show=[self.seen(number)])
            self.assertIs(state, found.state)

    def test_what_was_begun_is_as_the_host_remembers(self) -> None:
        for stands, state in (
            ('before', State.BEFORE),
            ('half', State.BEFORE),
            ('after', State.AFTER),
            ('neither', State.NEITHER),
        ):
            said = {'stands': stands, 'accounts': []}
            found = self.observed(True, accounts_stands=[said])
            self.assertIs(state, found.state)

    def test_what_the_host_does_not_remember_is_looked_at(self) -> None:
        found = self.observed(
            True,
            accounts_stands=[{'stands': 'unknown'}],
            accounts_show=[self.seen(108)],
        )
        self.assertIs(State.AFTER, found.state)

    def test_another_machine_is_asked_for_nothing(self) -> None:
        where = self.at(self.item(), False)
        self.hosts.machine = 'xyz'
        self.assertRaises(Conflict, self.change.apply, where)
        self.assertEqual([], self.hosts.asked)

    def test_another_home_would_not_remember(self) -> None:
        where = self.at(self.item(), False)
        where.cloud.conf.fleet.home = '/srv'
        error = self.assertRaises(Conflict, self.change.revert, where)
        self.assertIn('[fleet] home', str(error))

    def test_services_are_stopped_before(self) -> None:
        where = self.at(
            self.item(),
            False,
            services_stop=[STOPPED],
            accounts_set=[{'accounts': []}],
        )
        self.change.apply(where)
        self.assertEqual(['services stop', 'accounts set'], self.hosts.asked)

    def test_a_no_changed_nothing(self) -> None:
        where = self.at(
            self.item(),
            False,
            services_stop=[STOPPED],
            accounts_set=[answer.refused('c1', 'uid 108 is taken')],
        )
        self.assertRaises(ChangeFailed, self.change.apply, where)

    def test_no_way_back_is_claimed_that_was_not_gone(self) -> None:
        never = {'stands': 'before', 'steps': []}
        for number, error in ((112, None), (108, Conflict)):
            where = self.at(
                self.item(),
                True,
                services_stop=[STOPPED],
                accounts_undo=[never],
                accounts_show=[self.seen(number)],
            )
            if error:
                self.assertRaises(error, self.change.revert, where)
            else:
                self.assertEqual('never begun', self.change.revert(where))


class Owners(HostCase):
    change = host_owners.ChangeOwners()

    def item(self) -> Item:
        return self.made(
            'change-owners',
            root='/',
            uid=['112:108'],
            gid=[],
            leave_out=[],
            lift=False,
            number=0,
        )

    def test_a_host_that_was_rebooted_goes_on(self) -> None:
        where = self.at(
            self.item(),
            True,
            status=[
                status('running'),
                status('lost'),
                status('done', 0, changed=3, seen=9),
            ],
            services_stop=[STOPPED],
        )
        self.hosts.answers[BEGIN] = [STARTED]
        self.assertEqual('3 changed, 9 seen', self.change.follow(where))
        self.assertEqual(
            ['status', 'status', 'services stop', BEGIN, 'status'],
            self.hosts.asked,
        )

    def test_a_host_that_says_nothing_for_a_while_is_waited_for(self) -> None:
        where = self.at(
            self.item(),
            True,
            status=[
                answer.doubt('c1', answer.UNREACHABLE),
                status('done', 0, changed=3, seen=9),
            ],
        )
        self.assertIn('3 changed', self.change.follow(where))

    def test_a_host_that_is_silent_for_good_is_in_doubt(self) -> None:
        # each look at one that is silent takes as long as it may
        clock = iter(range(0, 10**6, 250))
        self.useFixture(
            fixtures.MockPatchObject(
                runs, 'time', mock.Mock(monotonic=lambda: next(clock))
            )
        )
        away = answer.doubt('c1', answer.UNREACHABLE)
        seen = [away, away, status('running'), away, away, away]
        where = self.at(self.item(), True, status=seen)
        self.assertRaises(OutcomeUnknown, self.change.follow, where)
        self.assertEqual([], self.hosts.answers['status'])

    def test_what_is_left_is_named_and_can_be_gone_on_with(self) -> None:
        left = status(
            'done',
            4,
            problems={'immutable': 1},
            lines=[{'event': 'problem', 'path': 'a/b', 'text': 'chattr'}],
        )
        where = self.at(self.item(), True, status=[left, left])
        error = self.assertRaises(ChangeFailed, self.change.follow, where)
        self.assertIn('1 immutable; first a/b: chattr', str(error))
        self.assertIs(State.BEFORE, self.change.observe(where).state)

    def taken_back(self, **problems: int) -> str:
        left = status(
            'done',
            4,
            restored=3,
            seen=9,
            problems={
                code.replace('_', '-'): n for code, n in problems.items()
            },
            lines=[
                # of an undo before this one
                {'event': 'problem', 'code': 'EROFS', 'path': 'a'},
                {'event': 'problem', 'code': 'gone', 'path': 'b', 'text': 't'},
            ],
        )
        where = self.at(
            self.item(), True, status=[left, left], services_stop=[STOPPED]
        )
        self.hosts.answers[
            BEGIN.replace('-0', '-0-undo', 1).replace('change', 'undo')
        ] = [STARTED]
        return self.change.revert(where)

    def test_what_is_gone_or_is_somebody_elses_needs_no_way_back(self) -> None:
        told = self.taken_back(gone=2, changed_since=1)
        self.assertIn('3 restored, 9 seen', told)
        self.assertIn('2 gone, 1 changed-since; first b: t', told)

    def test_what_may_be_restored_by_the_next_undo_is_kept(self) -> None:
        for code in ('EPERM', 'immutable', 'mounts_changed'):
            self.assertRaises(Conflict, self.taken_back, gone=1, **{code: 1})
        self.assertRaises(Conflict, self.taken_back)

    def test_how_a_walk_stands(self) -> None:
        for found, state in (
            (status('running'), State.UNDERWAY),
            (status('done', 0, changed=1), State.AFTER),
            (status('lost'), State.BEFORE),
            (status('unknown'), State.BEFORE),
        ):
            where = self.at(self.item(), True, status=[found])
            self.assertIs(state, self.change.observe(where).state)


class Services(HostCase):
    def test_only_what_runs_is_stopped(self) -> None:
        change = host_services.StopServices()
        item = self.made('stop-services', running=['a'], hold=True)
        rows = [{'name': 'a', 'runs': True}, {'name': 'b', 'runs': False}]
        said = {'services': rows, 'held': False}
        where = self.at(item, False, services_list=[said])
        found = change.observe(where)
        self.assertEqual({'running': ['a']}, found.image)
        off = [{'name': 'a', 'runs': False}]
        # what nothing keeps off may come back with a reboot
        for held, state in ((True, State.AFTER), (False, State.BEFORE)):
            said = {'services': off, 'held': held}
            where = self.at(item, True, services_list=[said])
            self.assertIs(state, change.observe(where).state)

    def kept_off(self, stop: str, start: str, hold: bool = True) -> str:
        running = ['nova-compute.service', 'libvirtd.service']
        items = [
            self.made(kind, running=running, hold=hold)
            for kind in ('stop-services', 'start-services')
        ]
        plan = Plan('host-uid', '', {}, (Step('s', '', tuple(items)),))
        records = [
            mock.Mock(id=item.id, state=state, begun=state != states.PENDING)
            for item, state in zip(items, (stop, start))
        ]
        found = host_services.kept_off(plan, records, '1a2b3c4d')
        return '\n'.join(found)

    def test_what_a_run_leaves_held_is_let_go_of_by_hand(self) -> None:
        for stop, start in (
            (states.DONE, states.PENDING),
            (states.FAILED, states.BLOCKED),
            (states.DOUBT, states.BLOCKED),
            (states.DONE, states.FAILED),
            (states.KEPT, states.REVERTED),
        ):
            told = self.kept_off(stop, start)
            self.assertIn(f'rm {HOME}/uid-1a2b3c4d/services/held;', told)
            self.assertIn('libvirtd.service, nova-compute.service', told)

    def test_what_is_free_is_not_told_of(self) -> None:
        for stop, start in (
            (states.PENDING, states.PENDING),
            (states.DONE, states.DONE),
            (states.REVERTED, states.REVERTED),
        ):
            self.assertEqual('', self.kept_off(stop, start))
        self.assertEqual(
            '', self.kept_off(states.DONE, states.PENDING, hold=False)
        )

    def test_the_host_is_told_whose(self) -> None:
        """Where it isn't, the agent stops nova alone."""
        for more, groups in (
            ({}, ['nova', 'libvirt']),
            ({'groups': ['nova']}, ['nova']),
        ):
            item = self.made('stop-services', running=['a'], **more)
            where = self.at(item, False, services_stop=[STOPPED])
            asked = mock.Mock(wraps=self.hosts.run)
            self.hosts.run = asked  # type: ignore[method-assign]
            host_services.StopServices().apply(where)
            self.assertEqual(groups, asked.call_args[0][2]['group'])
