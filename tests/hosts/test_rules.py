# SPDX-License-Identifier: Apache-2.0

"""Packet filters of real hosts, and rules that cut who sets them off."""

from __future__ import annotations

from collections.abc import Callable
import json
import time
from typing import Any, ClassVar

from tests.cloud import process
from tests.hosts.bed import Bed
from tests.hosts.beds import Beds
from tests.hosts.program import ProgramTest

INPUT, OPS = 'iptables:filter:INPUT', 'iptables:filter:ops'
OWN = """\
set -e
iptables -N ops; iptables -A ops -p tcp --dport 4240 -j ACCEPT
iptables -N neutron-openvswi-INPUT
iptables -A INPUT -j neutron-openvswi-INPUT; iptables -A INPUT -j ops
ip6tables -A INPUT -p tcp --dport 4240 -j DROP
ebtables -N eb -P RETURN; ebtables -A FORWARD -p IPv4 -j eb
nft add table inet f
nft add chain inet f in '{ type filter hook input priority 5; }'
nft add rule inet f in tcp dport '{ 4240, 4250 }' counter drop
"""
#: A boot, after which neutron's agent came and an operator did not.
BOOT = """\
set -e
iptables -F; iptables -X ops; ip6tables -F; ebtables -F; ebtables -X eb
nft delete table inet f
iptables -N neutron-openvswi-new
iptables -A INPUT -j neutron-openvswi-new
"""
CHAINS = (
    *(INPUT, OPS, 'ip6tables:filter:INPUT', 'ebtables:filter:FORWARD'),
    *('ebtables:filter:eb', 'nft:inet:f:in'),
)


#: Nobody gets in; and nobody who is not in by ssh already.
CUT = '-p tcp -m tcp --dport 22 -j DROP'
NO_MORE = '-p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP'


class RulesTest(ProgramTest):
    """Some hosts with rules, which are saved.

    :cvar hosts: how many
    """

    hosts: ClassVar[int]

    def setUp(self) -> None:
        self.beds = Beds.up(self.hosts)
        self.addCleanup(self.beds.down)
        super().setUp()
        self.file = self.folder / 'rules'
        for host in self.beds:
            host.run('sh', '-c', OWN)
        names = [host.name for host in self.beds]
        self.run_program(
            *('host', 'rules', 'save', *names, '--file', str(self.file))
        )

    def listed(self, host: Bed) -> list[str]:
        """All rules, as the tools of the host show them."""
        text = host.run(
            *('sh', '-c'),
            'for t in ip ip6 eb; do ${t}tables-save; done; '
            'nft -s list ruleset inet || true',
        )
        # without times, and without counters
        return [
            line.partition(' [')[0]
            for line in text.splitlines()
            if line[:1] != '#'
        ]

    def diff(self, code: int, *names: str) -> list[dict[str, Any]]:
        return self.rows(
            *('host', 'rules', 'diff', *names, '--file', str(self.file)),
            codes=[code],
        )

    def words(self, host: str, *chains: str) -> tuple[str, ...]:
        return (
            *('host', 'rules', 'restore', host, '--yes'),
            *('--file', str(self.file)),
            *(word for name in chains for word in ('--chain', name)),
        )


class Restored(RulesTest):
    hosts = 1

    def test_all_tools_there_and_back_and_neutron_stays(self) -> None:
        (host,) = self.beds
        self.assertEqual(['RULES-SAME'], [r['Code'] for r in self.diff(0)])
        host.run('sh', '-c', BOOT)
        booted = self.listed(host)
        self.assertEqual(set(CHAINS), {row['Chain'] for row in self.diff(4)})
        neutron = 'iptables:filter:neutron-openvswi-INPUT'
        self.run_program(*self.words(host.name, neutron), code=3)
        self.assertEqual(booted, self.listed(host))
        self.run_program(*self.words(host.name, *CHAINS))
        self.assertEqual(['RULES-SAME'], [r['Code'] for r in self.diff(0)])
        said = host.run('iptables', '-S', 'INPUT')
        self.assertIn('-A INPUT -j neutron-openvswi-new', said)
        self.assertNotIn('-j neutron-openvswi-INPUT', said)
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(set(CHAINS), {row['Chain'] for row in self.diff(4)})
        said = host.run('iptables', '-S', 'INPUT')
        self.assertIn('-A INPUT -j neutron-openvswi-new', said)
        # a chain that somebody changed since is left alone
        self.run_program(*self.words(host.name, *CHAINS))
        host.run('iptables', '-A', 'ops', '-j', 'RETURN')
        by_hand = self.listed(host)
        self.run_program('run', 'undo', self.run_id(), '--yes', code=4)
        self.assertEqual(by_hand, self.listed(host))


class TakenBack(RulesTest):
    hosts = 3

    def test_rules_that_cut_the_connection_are_taken_back(self) -> None:
        one, two, three = self.beds
        before = {host.name: self.listed(host) for host in self.beds}
        kept = json.loads(self.file.read_text())
        # who is in by a kept connection of ssh sees nothing wrong on two
        for host, rule in ((one, CUT), (two, NO_MORE), (three, CUT)):
            kept['hosts'][host.name]['chains'][INPUT] = ['ACCEPT', rule]
        self.file.write_text(json.dumps(kept))
        begun = time.monotonic()
        programs = {
            host.name: self.typed(*self.words(host.name, INPUT))
            for host in self.beds
        }
        self.until(lambda: self.listed(three) != before[three.name])
        programs[three.name].kill()
        programs[three.name].communicate()
        self.until(lambda: self.listed(one) != before[one.name])
        self.lose_trial(one)
        for host in (one, two):
            said, _none = programs[host.name].communicate(timeout=180)
            self.assertEqual(4, programs[host.name].returncode, said)
            self.assertIn('nobody confirmed within 60 s', said)
            self.assertEqual(before[host.name], self.listed(host))
        self.assertGreater(time.monotonic() - begun, 60)
        # nobody was there to see that three cannot be reached
        self.until(lambda: self.listed(three) == before[three.name])
        (run,) = (
            row['ID']
            for row in self.rows('run', 'list', codes=[0])
            if three.name in row['Title']
        )
        self.run_program('run', 'undo', run, '--yes')
        self.assertEqual(before[three.name], self.listed(three))
        self.assertEqual(
            {('RULES-DIFFER', INPUT)},
            {(row['Code'], row['Chain']) for row in self.diff(4)},
        )

    def lose_trial(self, host: Bed) -> None:
        """What sets the rules dies, as for want of memory, and comes back."""

        def pid() -> str:
            said = host.run(
                *('systemctl', 'show', '--property=MainPID', '--value'),
                'nova-recovery-*.service',
            )
            return said.strip()

        killed = pid()
        self.assertRegex(killed, '^[1-9][0-9]*$')
        host.run('kill', '-KILL', killed)
        self.until(lambda: pid() not in ('', '0', killed))

    def until(self, is_so: Callable[[], bool]) -> None:
        process.wait_for(is_so, 90, 'the rules of a host', 0.3)
