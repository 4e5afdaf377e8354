# SPDX-License-Identifier: Apache-2.0

"""Two operators, each with a journal, recover the same host at once.

``test_two_nodes`` has the same on two nodes of a Galera cluster.
"""

from __future__ import annotations

from concurrent import futures
import os
import pathlib
import signal

from nova_recovery.compat import pairs
from nova_recovery.engine import planfile
from nova_recovery.engine.journal import Journal, RunRecord
from tests.functional.base import Ended
from tests.functional.recovered import RecoveredTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world

OPERATORS = ('anna', 'bert')


class TwoOperatorsTest(RecoveredTest):
    def setUp(self) -> None:
        super().setUp()
        self.confs = {who: self.home / f'{who}.conf' for who in OPERATORS}
        for who, conf in self.confs.items():
            self.configure(conf, journal__connection=self.url(who))

    def url(self, who: str) -> str:
        return f'sqlite:///{self.home}/{who}.sqlite'

    def runs(self, who: str) -> list[RunRecord]:
        journal = Journal.open(self.url(who))
        self.addCleanup(journal.close)
        return journal.runs()


class TestCommands(TwoOperatorsTest):
    """The programs, started together."""

    def test_host_recover(self) -> None:
        self.practice.reset()
        servers = self.before(
            row['uuid'] for row in self.state.rows('host1').values()
        )
        self.lose_power('host1')

        def recover(who: str) -> Ended:
            return self.subprocess_recovery(
                'host', 'recover', 'host1', '--fenced', 'PDU port 14 is off',
                '--shared-storage', '--yes', '--recovery-config-file',
                self.confs[who], program='nova-recovery',
                env={**os.environ, 'USER': who},
            )  # fmt: skip

        with futures.ThreadPoolExecutor(2) as pool:
            ends = dict(pairs(OPERATORS, pool.map(recover, OPERATORS)))
        winner, loser = sorted(OPERATORS, key=lambda who: ends[who].code)
        self.assertEqual(0, ends[winner].code, ends)
        # refused by the gate, or later by the claim
        self.assertIn(ends[loser].code, (3, 4), ends)
        (run,) = self.runs(winner)
        self.assertIn(
            f'run={run.id} by={winner}',
            ' '.join((ends[loser].stdout + ends[loser].stderr).split()),
        )
        for one in servers:
            self.assert_recovered(
                one, one.name == 'at3-ui06', ('host2', 'host3')
            )
            self.assertEqual(1, len(self.state.migrations(one.uuid)))
        self.assert_out_of_service('host1', run.id)


class TestWorstMoment(TwoOperatorsTest):
    """Both have seen that nobody has the host, and write that they do."""

    def setUp(self) -> None:
        super().setUp()
        #: Processes that would stand still for ever.
        self.left: list[int] = []
        self.addCleanup(self.kill)

    def kill(self) -> None:
        for pid in self.left:
            os.kill(pid, signal.SIGKILL)
            world.ended(pid)

    def test_claim(self) -> None:
        evacuated, moved = self.create_servers({
            'evacuated': {},
            'moved': {'volumes': ['iscsi'], 'state': 'paused'},
        })  # fmt: skip
        before = self.before([evacuated.id, moved.id])
        self.lose_power('host1')
        self.practice.wait_compute_down('host1')
        plan = planfile.load(
            str(
                self.plan(
                    'server', 'recover', evacuated.id, moved.id,
                    '--target-host', 'host2', '--shared-storage',
                    '--connector', self.connector('host2'), '--fenced',
                    'PDU port 14 is off',
                )['file']
            )
        )  # fmt: skip
        runs = {
            who: killing.create_run(self.url(who), plan) for who in OPERATORS
        }
        pids = {who: self.poised(who, runs[who]) for who in OPERATORS}
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)
        codes = {who: world.ended(pid, 120) for who, pid in pids.items()}
        self.left.clear()
        winner, loser = sorted(OPERATORS, key=lambda who: codes[who])
        self.assertEqual((0, 4), (codes[winner], codes[loser]))
        self.assert_recovered(before[0], False, ('host2',))
        self.assert_recovered(before[1], True, ('host2',))
        for one in before:
            self.assertEqual(1, len(self.state.migrations(one.uuid)))
        self.assert_loser(loser, runs)

    def poised(self, who: str, run_id: str) -> int:
        """A process that stands still between its look and its claim."""
        watch = Watch(
            self.home / f'{who}.points',
            {'host:host1': {'claim-host: journal intent'}},
            signal.SIGSTOP,
        )
        pid = world.start(
            lambda: killing.carry_out(self.confs[who], run_id, 1, watch)
        )
        self.left.append(pid)
        stat = pathlib.Path(f'/proc/{pid}/stat')
        self.wait_for(
            lambda: stat.read_text().rpartition(')')[2].split()[0] == 'T',
            f'{who} to stand still',
        )
        return pid

    def assert_loser(self, loser: str, runs: dict[str, str]) -> None:
        """It did nothing, and can tell whose the host is."""
        journal = Journal.open(self.url(loser))
        self.addCleanup(journal.close)
        claim, *rest = journal.items(runs[loser])
        self.assertEqual('conflict', claim.state)
        (other,) = set(runs.values()) - {runs[loser]}
        self.assertIn(f'run={other} ', claim.detail)
        self.assertEqual({'blocked'}, {item.state for item in rest})
        self.assertEqual({False}, {item.begun for item in rest})
