# SPDX-License-Identifier: Apache-2.0

"""Owners of files, beside find, the guide's four finds and fuidshift.

The ratios are of the times of one run, to ``find TREE -uid 99999``, which
looks at every inode once and does nothing. The cache is warm. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from tests.integration.agent import trees

#: nova's and libvirt-qemu's, on a host where they are not those of others.
PAIRS = {'uid': {108: 112, 119: 64055}, 'gid': {120: 124, 121: 125}}
_WORDS = [
    word
    for kind, pairs in PAIRS.items()
    for old, new in pairs.items()
    for word in ('--' + kind, f'{old}:{new}')
]
#: Owner and group of a directory and what is in it, and how many in 100.
_OWNERS = [
    ((108, 120), 20),
    ((119, 121), 10),
    ((108, 121), 8),
    ((0, 0), 32),
    ((1000, 1000), 30),
]
_IN_EACH = 49


def build(tree: pathlib.Path, entries: int) -> None:
    """Directories of fifty; in each a link, now and then an ACL or a bit."""
    chance = random.Random(1)
    owners = [owner for owner, weight in _OWNERS for _ in range(weight)]
    for number in range(entries // (_IN_EACH + 1)):
        directory = tree / str(number % 100) / str(number)
        directory.mkdir(parents=True)
        uid, gid = chance.choice(owners)
        for name in range(_IN_EACH):
            path = directory / f'file-{name}'
            if not name:
                path.symlink_to('file-1')
            else:
                path.touch()
            os.chown(path, uid, gid, follow_symlinks=False)
        os.chown(directory, uid, gid)
        if not number % 50:
            os.chmod(directory / 'file-1', 0o4755)
            os.setxattr(
                directory / 'file-2', trees.ACCESS, trees.acl({108: 6})
            )


class Clock:
    """What commands cost, in one line each."""

    def __init__(self) -> None:
        self.floor = 0.0

    def run(self, what: str, words: list[str]) -> tuple[float, bytes]:
        """Run and tell; seconds, and its last line."""
        before = _used()
        began = time.perf_counter()
        done = subprocess.run(words, check=True, capture_output=True)
        wall = time.perf_counter() - began
        cpu = _used() - before
        ratio = f'{wall / self.floor:6.1f} x' if self.floor else ' ' * 8
        print(
            f'{what:36}{wall:8.2f} s wall {cpu:7.2f} s processor {ratio}',
            flush=True,
        )
        lines = done.stdout.splitlines()
        return wall, lines[-1] if lines else b''


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.owners')
    parser.add_argument('--entries', type=int, default=500_000)
    parser.add_argument('--python', default=sys.executable)
    parser.add_argument('--rounds', type=int, default=3)
    parsed = parser.parse_args()
    if os.geteuid():
        raise SystemExit('only root can give files away')
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
        tree = pathlib.Path(name) / 'tree'
        build(tree, parsed.entries)
        measure(parsed, tree, pathlib.Path(name) / 'state')


def measure(
    parsed: argparse.Namespace, tree: pathlib.Path, state: pathlib.Path
) -> None:
    clock, ours = Clock(), []
    agent = ['nova_recovery.host.agent', 'owners']
    rest = ['--root', str(tree), *_WORDS, '--state', str(state)]

    def act(action: str) -> tuple[float, dict[str, object]]:
        words = [parsed.python, '-m', *agent, action, *rest]
        wall, line = clock.run(f'owners {action}', words)
        return wall, json.loads(line)

    floor = ['find', str(tree), '-uid', '99999']
    subprocess.run(floor, check=True)
    for _ in range(parsed.rounds):
        clock.floor = 0.0
        clock.floor = statistics.median(
            clock.run('find -uid 99999', floor)[0] for _ in range(3)
        )
        wall, result = act('change')
        ours.append(wall / clock.floor)
        act('verify')
        act('undo')
        shutil.rmtree(state)
    words = [parsed.python, '-m', *agent, 'change', *rest]
    print(
        f'{result["seen"]} entries, {result["changed"]} changed, '
        f'{result["bytes"]} bytes of before-images; '
        f'{memory(words)} MB of memory at most'
    )
    print(f'change: {statistics.median(ours):.1f} x the floor, median')
    put_back(parsed.python, agent, rest, state)
    others(clock, tree, parsed.entries)


def memory(words: list[str]) -> int:
    """MB of a change at its most, of both its processes together.

    What they share is counted once (PSS).
    """
    most = 0
    change = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while change.poll() is None:
        children = pathlib.Path(
            f'/proc/{change.pid}/task/{change.pid}/children'
        )
        try:
            pids = [str(change.pid), *children.read_text().split()]
            most = max(most, sum(map(_pss, pids)))
        except (FileNotFoundError, ProcessLookupError):
            # its end
            continue
        time.sleep(0.02)
    if change.returncode:
        raise SystemExit(f'{words}: {change.returncode}')
    return most // 1024


def _pss(pid: str) -> int:
    text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
    (line,) = [x for x in text.splitlines() if x.startswith('Pss:')]
    return int(line.split()[1])


def put_back(
    python: str, agent: list[str], rest: list[str], state: pathlib.Path
) -> None:
    words = [python, '-m', *agent, 'undo', *rest]
    subprocess.run(words, check=True, capture_output=True)
    shutil.rmtree(state)


def others(clock: Clock, tree: pathlib.Path, entries: int) -> None:
    """What else there is; without journal, resume or undo."""
    finds = [
        f'find {tree} -{kind} {old} -exec {program} -h {new} {{}} +'
        for kind, program in (('uid', 'chown'), ('gid', 'chgrp'))
        for old, new in PAIRS[kind].items()
    ]
    clock.run("the guide's four finds, with +", ['sh', '-ec', ';'.join(finds)])
    if shutil.which('fuidshift') is None:
        print('no fuidshift here (Debian: lxd-tools)')
        return
    # it can't be undone
    shutil.rmtree(tree)
    build(tree, entries)
    subprocess.run(['find', str(tree), '-uid', '99999'], check=True)
    shift = ['fuidshift', str(tree)] + [
        f'{kind[0]}:{old}:{new}:1'
        for kind, pairs in PAIRS.items()
        for old, new in pairs.items()
    ]
    clock.run('fuidshift', shift)


if __name__ == '__main__':
    main()
