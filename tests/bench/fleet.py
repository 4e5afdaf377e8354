# SPDX-License-Identifier: Apache-2.0

"""Two hundred hosts through Ansible, beside Ansible's own ``raw``.

``python -m tests.bench fleet``: the hosts are namespaces on this machine,
behind a real sshd on loopback. Counted is what the controller spends: this
process, ansible-playbook, its workers and their ssh; not the hosts. One run,
with the workers of a phase as threads, as the engine has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent import futures
import os
import resource
import subprocess
import sys
import time
from typing import Any

import fixtures

from nova_recovery.fleet.ansible import programs
from nova_recovery.fleet.fleet import Fleet
from tests.integration.fleet import reached


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.fleet')
    parser.add_argument('--hosts', type=int, default=200)
    parser.add_argument('--forks', type=int, default=25)
    parsed = parser.parse_args()
    with fixtures.Fixture() as here:
        # neither the operator's ~/.ansible nor their ssh masters
        here.useFixture(fixtures.TempHomeDir())
        hosts = here.useFixture(reached.Hosts(parsed.hosts, agent=False))
        # hosts that share our cores are slow: a minute would be over in
        # between, and warm is what has a connection
        hosts.keys.more['ansible_ssh_args'] = (
            '-C -o ControlMaster=auto -o ControlPersist=600s'
        )
        hosts.inventory(
            {n: {'ansible_host': a} for n, a in hosts.addresses.items()}
        )
        with hosts.fleet(forks=parsed.forks) as fleet:
            measure(hosts, fleet, parsed.forks)


def measure(hosts: reached.Hosts, fleet: Fleet, forks: int) -> None:
    names = list(hosts.places)
    with futures.ThreadPoolExecutor(len(names)) as pool:

        def asked(verb: str) -> list[Any]:
            return list(pool.map(lambda name: fleet.run(name, verb), names))

        told(
            'cold: connect, send the agent, who is it',
            names,
            lambda: checked(list(fleet.identify(names).values())),
        )
        warm = [
            told(
                f'warm: {verb}', names, lambda verb=verb: checked(asked(verb))
            )
            for verb in ('accounts show', 'services list')
        ]
    plain = told("Ansible's own: raw true", names, lambda: raw(hosts, forks))
    print(
        f'  of processor, warm beside Ansible alone: '
        f'{min(warm) / plain:.2f} to {max(warm) / plain:.2f}'
    )


def checked(answers: list[Any]) -> None:
    bad = [found for found in answers if found.state != 'done']
    assert not bad, bad[:3]


def raw(hosts: reached.Hosts, forks: int) -> None:
    """What an operator would type."""
    playbook, _inventory = programs.find(hosts.conf().fleet.ansible_playbook)
    subprocess.run(
        [
            *(os.path.join(os.path.dirname(playbook), 'ansible'), 'all'),
            *('-i', str(hosts.path), '-f', str(forks), '-m', 'raw'),
            *('-a', 'true'),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, 'LC_ALL': 'C.UTF-8'},
        check=True,
    )


def told(what: str, names: list[str], work: Callable[[], None]) -> float:
    """Seconds of processor that it takes for a host."""
    with Memory() as memory:
        began, before = time.perf_counter(), processor()
        work()
        used = (processor() - before) / len(names)
        wall = time.perf_counter() - began
    print(
        f'  {what:42} {len(names)} hosts: {used:.3f} s of processor a host, '
        f'{wall:5.1f} s wall, {memory.peak:4.0f} MB',
        flush=True,
    )
    return used


def processor() -> float:
    """Seconds so far: ours, and those of children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(
            resource.getrusage,
            (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN),
        )
    )


class Memory:
    """The most that we and Ansible have in memory at a time, in MB.

    Shared pages count in parts (PSS); a look every second by another process.
    """

    def __enter__(self) -> Memory:
        self.peak = 0.0
        self._looking = subprocess.Popen(
            [sys.executable, '-c', _LOOK, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        printed, _none = self._looking.communicate()
        self.peak = float(printed)


_LOOK = r"""
import pathlib, select, sys
root, peak = int(sys.argv[1]), 0
while not select.select([sys.stdin], [], [], 1)[0]:
    parents, names = {}, {}
    for entry in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            stat = (entry / 'stat').read_text().rpartition(')')
        except OSError:
            continue
        parents[int(entry.name)] = int(stat[2].split()[1])
        names[int(entry.name)] = stat[0].partition('(')[2]
    ours = {root}
    for pid in sorted(parents):
        # the hosts are below an unshare
        if parents[pid] in ours and names[pid] not in ('unshare', 'python'):
            ours.add(pid)
    total = 0
    for pid in ours:
        try:
            for line in open('/proc/%d/smaps_rollup' % pid):
                if line.startswith('Pss:'):
                    total += int(line.split()[1])
        except OSError:
            pass
    peak = max(peak, total)
print(peak / 1024)
"""


if __name__ == '__main__':
    main()
