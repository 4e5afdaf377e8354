# SPDX-License-Identifier: Apache-2.0

"""Rules of hosts in a file: written, compared, and what is restored."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import sqlite3
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import changes, exit_codes
from nova_recovery.engine import change, findings
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.exceptions import ConfigError, RecoveryError, UsageError
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.rules import procedure, saved, show
from nova_recovery.procedures.rules.saved import Host, Saved
from nova_recovery.snapshot import comparing, reading, taking
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.taking import Request
from tests.base import TestCase
from tests.unit.snapshot import files

INPUT, MINE = 'iptables:filter:INPUT', 'iptables:filter:mine'
NEUTRON = 'iptables:filter:neutron-a'
BEFORE = {
    INPUT: ['DROP', '-j neutron-a', '-j mine'],
    MINE: ['-', '-j ACCEPT'],
    NEUTRON: ['-', '-j ACCEPT'],
}


def known(**more: Any) -> Saved:
    host = Host('id-of-c1', BEFORE, **more)
    return Saved('/root/rules', '2026-11-29T06:00:00Z', {'c1': host})


def host(chains: Any = None, name: str = 'c1', **why: str) -> Reached:
    said = {'chains': BEFORE if chains is None else chains, 'why': why}
    return Reached(name, f'id-of-{name}', said=(said,))


class InAFile(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(folder, 'rules')

    def save(self, *hosts: Reached) -> Any:
        read = mock.Mock(return_value=list(hosts))
        self.useFixture(fixtures.MockPatchObject(reached, 'read', read))
        return saved.save(mock.Mock(), ['c1'], str(self.path))

    def test_it_is_ours_alone_and_comes_back(self) -> None:
        found = self.save(host(), Reached('c2', problem='unreachable'))
        self.assertEqual(findings.UNKNOWN, found.worst)
        self.assertEqual(0o600, self.path.stat().st_mode & 0o777)
        back = saved.load(str(self.path))
        self.assertEqual({'c1': Host('id-of-c1', BEFORE)}, back.hosts)

    def test_one_that_is_there_is_left_alone(self) -> None:
        self.path.write_text('mine')
        self.assertRaises(RecoveryError, self.save, host())
        self.assertEqual('mine', self.path.read_text())

    def test_no_host_no_file(self) -> None:
        away = Reached('c1', problem='unreachable')
        self.assertRaises(RecoveryError, self.save, away)
        self.assertFalse(self.path.exists())

    def test_what_a_tool_does_not_tell_is_unknown(self) -> None:
        found = self.save(host(iptables='locked'))
        self.assertEqual('RULES-UNKNOWN', found.findings[0].code)

    def test_what_is_no_text_is_unknown_and_the_file_comes_back(self) -> None:
        # as the agent says a byte that is no UTF-8
        rule = '-m comment --comment "caf\udce9" -j ACCEPT'
        nft = {'nft:inet:f:in': ['', 'accept']}
        found = self.save(host({**BEFORE, MINE: ['-', rule], **nft}))
        (told,) = found.findings
        self.assertEqual('RULES-UNKNOWN', told.code)
        self.assertIn(f'{MINE!r} has bytes that are no UTF-8', told.cause)
        back = saved.load(str(self.path)).hosts['c1']
        self.assertEqual(nft, back.chains)
        self.assertTrue(back.lacks(INPUT))
        self.assertFalse(back.lacks('nft:inet:f:in'))

    def test_another_file(self) -> None:
        for text in ('', '[]', '{"format": 2}', '{"format": 1, "saved_at"'):
            self.path.write_text(text)
            self.assertRaises(RecoveryError, saved.load, str(self.path))
        self.path.unlink()
        self.assertRaises(RecoveryError, saved.load, str(self.path))

    def test_what_somebody_wrote_into_it(self) -> None:
        good = {'machine_id': 'x', 'chains': {INPUT: ['ACCEPT']}, 'why': {}}
        for one in (
            {'chains': {INPUT: []}},
            {'chains': {INPUT: 'ACCEPT'}},
            {'chains': {INPUT: ['ACCEPT', 5]}},
            {'chains': {INPUT: ['ACCEPT', '-j DROP\n-j ACCEPT']}},
            {'machine_id': None},
            {'why': []},
            {'why': {'nft': 7}},
        ):
            self.path.write_text(self.file(good, one))
            self.assertRaises(RecoveryError, saved.load, str(self.path))
        self.path.write_text(self.file(good, {}))
        self.assertEqual(['c1'], list(saved.load(str(self.path)).hosts))

    def file(self, *parts: dict[str, Any]) -> str:
        host: dict[str, Any] = {}
        for part in parts:
            host.update(part)
        known = {'format': 1, 'saved_at': 'x', 'hosts': {'c1': host}}
        return json.dumps(known)


class InASnapshot(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = str(pathlib.Path(folder, 'a.snapshot'))

    def take(self, *hosts: Reached) -> Snapshot:
        read = mock.Mock(return_value=list(hosts))
        self.useFixture(fixtures.MockPatchObject(reached, 'read', read))
        rules = tuple(saved.look(mock.Mock(), ['c1']))
        cloud = mock.Mock()
        cloud.nova.api_database = cloud.nova.database = None
        cloud.conf.cells.connection = None
        empty = files.write(f'{self.path}.empty', {}, 'host:c9')
        request = Request(self.path, merge=(empty,), rules=rules)
        taking.take(cloud, request, lambda section, rows: None)
        opened = Snapshot(self.path)
        self.addCleanup(opened.file.close)
        return opened

    def test_it_comes_back_as_from_a_file(self) -> None:
        snapshot = self.take(host(ebtables='locked'))
        self.assertEqual([], reading.problems(snapshot))
        self.assertEqual(
            {'c1': Host('id-of-c1', BEFORE, {'ebtables': 'locked'})},
            saved.load(self.path).hosts,
        )
        self.assertEqual(0o600, os.stat(self.path).st_mode & 0o777)

    def test_one_that_is_silent_is_told_and_spoils_nothing(self) -> None:
        away = Reached('c2', problem='unreachable')
        snapshot = self.take(host(), away)
        self.assertEqual(
            [('chains', 'rules:c2', 'unreachable')],
            [(p.section, p.source, p.detail) for p in snapshot.unknown],
        )
        self.assertTrue(snapshot.complete)
        self.assertEqual({'c1'}, set(saved.load(self.path).hosts))

    def test_hosts_that_can_not_be_asked_at_all_spoil_nothing_either(
        self,
    ) -> None:
        self.useFixture(
            fixtures.MockPatchObject(
                reached, 'read', side_effect=ConfigError('no inventory')
            )
        )
        (one,) = saved.look(mock.Mock(), ['c1'])
        self.assertEqual(('c1', 'no inventory'), (one.host, one.problem))

    def test_a_file_from_before_has_none_and_is_whole(self) -> None:
        path = files.write(f'{self.path}.old', {'servers': [{'uuid': 'web'}]})
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.execute('DROP TABLE chains')
        error = self.assertRaises(RecoveryError, saved.load, path)
        self.assertIn('snapshot create --hosts', str(error))
        new = self.take(host())
        with Snapshot(path) as old:
            self.assertEqual([], reading.problems(old))
            self.assertEqual([], list(old.rows('chains')))
            codes = {o.code for o in comparing.differences(old, new)}
        self.assertEqual({'unknown'}, codes)


class Compared(TestCase):
    def codes(self, *hosts: Reached, **more: Any) -> list[tuple[str, str]]:
        found = show.judge(known(**more), hosts).findings
        return [(one.code, one.more.get('chain', '')) for one in found]

    def test_what_others_make_is_not_compared(self) -> None:
        now = {
            INPUT: ['DROP', '-j neutron-b', '-j mine'],
            MINE: BEFORE[MINE],
            'iptables:filter:neutron-b': ['-'],
        }
        self.assertEqual([('RULES-SAME', '')], self.codes(host(now)))

    def test_chains_that_differ_are_gone_or_are_new(self) -> None:
        now = {INPUT: ['ACCEPT'], 'nft:inet:f:in': ['', 'accept']}
        (differs, lost, new) = show.judge(known(), [host(now)]).findings
        self.assertEqual(
            ('RULES-DIFFER', '2 lost, 1 new'), (differs.code, differs.cause)
        )
        self.assertEqual(
            '- policy DROP\n- -j mine\n+ policy ACCEPT',
            differs.more['difference'],
        )
        self.assertIn(f'--chain {INPUT}', differs.fix)
        self.assertEqual(('RULES-LOST', MINE), (lost.code, lost.more['chain']))
        self.assertEqual(
            ('RULES-NEW', findings.STALE), (new.code, new.severity)
        )

    def test_one_that_only_has_more_chains_differs(self) -> None:
        new = 'type filter hook input priority 0; policy drop;'
        found = show.judge(known(), [host({**BEFORE, 'nft:inet:f:i': [new]})])
        self.assertEqual(exit_codes.PARTLY, found.exit_code)

    def test_a_host_after_a_boot_lists_nothing(self) -> None:
        self.assertEqual(
            [('RULES-DIFFER', INPUT), ('RULES-LOST', MINE)],
            self.codes(host({})),
        )

    def test_what_is_not_known(self) -> None:
        unknown = [('RULES-UNKNOWN', '')]
        self.assertEqual(unknown, self.codes(host({}, iptables='locked')))
        self.assertEqual(unknown, self.codes(host({}), why={'iptables': 'x'}))
        self.assertEqual(unknown, self.codes(host(name='c2')))
        other = Reached('c1', 'other', said=host().said)
        self.assertEqual(unknown, self.codes(other))
        away = Reached('c1', problem='unreachable')
        self.assertEqual([('HOST-UNKNOWN', '')], self.codes(away))


class Restored(TestCase):
    def decide(self, *hosts: Reached, chains: Any = (INPUT,)) -> Plan:
        request = procedure.Request(
            tuple(one.name for one in hosts), '/root/rules', tuple(chains)
        )
        plan = procedure.decide(request, known(), hosts, '/home')
        plan.check(change.kinds(changes.registry()))
        return plan

    def blocked(self, plan: Plan) -> list[Gate]:
        return [gate for gate in plan.gates if gate.blocks]

    def test_only_what_is_named_and_differs(self) -> None:
        now = {**BEFORE, INPUT: ['ACCEPT'], MINE: ['-']}
        plan = self.decide(host(now), chains=[INPUT])
        self.assertFalse(plan.blocked)
        (item,) = plan.items()
        self.assertEqual(
            {INPUT: [['ACCEPT'], BEFORE[INPUT]]}, item.data['chains']
        )
        self.assertEqual((1, 0), (plan.steps[0].at_a_time,
                                  plan.steps[0].failures))  # fmt: skip
        plan = self.decide(host())
        self.assertEqual([], list(plan.items()))
        self.assertIn('c1: nothing is to be restored', plan.notes)

    def test_one_that_was_not_there_is_taken_away(self) -> None:
        new = 'nft:inet:f:in'
        (item,) = self.decide(
            host({**BEFORE, new: ['', 'accept']}), chains=[new]
        ).items()
        self.assertEqual({new: [['', 'accept'], None]}, item.data['chains'])

    def test_what_refuses(self) -> None:
        other = Reached('c1', 'other', said=host().said)
        for where, chains, name, state in (
            (host({}), [NEUTRON], 'rules-own', 'refused'),
            (host({}, iptables='locked'), [INPUT], 'rules-saved', 'unknown'),
            (host({}), ['iptables:filter:typo'], 'rules-saved', 'refused'),
            (host({}, 'c2'), [INPUT], 'rules-saved', 'refused'),
            (other, [INPUT], 'rules-saved', 'refused'),
            (host({}), [INPUT], 'rules-whole', 'refused'),
        ):
            (gate,) = self.blocked(self.decide(where, chains=chains))
            self.assertEqual(
                (name, state, 'hard'), (gate.name, gate.state, gate.klass)
            )
        self.assertEqual(
            [], self.blocked(self.decide(host({}), chains=[INPUT, MINE]))
        )

    def test_what_does_not_fit_on_a_command_line(self) -> None:
        rules = [f'-s {random.random()} -j ACCEPT' for _ in range(9000)]
        now = {INPUT: ['ACCEPT', *rules]}
        self.assertRaises(
            UsageError, self.decide, host(now), chains=[INPUT, MINE]
        )
