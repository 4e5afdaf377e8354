# SPDX-License-Identifier: Apache-2.0

"""SIGKILL at every write, then everything that may be typed next.

    PYTHON killed.py DIRECTORY WORDS...

A program of its own, so that each Python of a host can run it: standard
library and the syntax of 3.6. WORDS are the pairs. Prints one JSON object:
how many kills of which kind of write there were, and what came out wrong.
"""

import collections
import fcntl
import io
import json
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.abspath(os.path.join(__file__, *[os.pardir] * 5)))

import trees  # noqa: E402

from nova_recovery.host.agent import __main__ as agent  # noqa: E402
from nova_recovery.host.agent import kernel  # noqa: E402

#: (module, name) of all that writes.
WRITES = [
    (os, 'write'),
    (os, 'fdatasync'),
    (os, 'fsync'),
    (os, 'ftruncate'),
    (os, 'rename'),
    (os, 'setxattr'),
    (os, 'chmod'),
    (fcntl, 'ioctl'),
    (kernel, 'fchownat'),
    (kernel, 'sync_file_system'),
]


class Killer:
    """Kills its process at the n-th of its points; 0 never does."""

    def __init__(self, at):
        self.at, self.count, self.kinds = at, 0, collections.Counter()
        self.process = os.getpid()
        for module, name in WRITES:
            setattr(module, name, self.around(name, getattr(module, name)))

    def point(self, kind):
        if os.getpid() != self.process:
            return
        self.count += 1
        self.kinds[kind] += 1
        if self.count == self.at:
            os.kill(self.process, signal.SIGKILL)

    def around(self, name, function):
        def call(*words):
            self.point('before ' + name)
            if name == 'write' and self.count + 1 == self.at:
                # a write that was cut short
                function(words[0], words[1][: len(words[1]) // 2])
            if name == 'write':
                self.point('within write')
            result = function(*words)
            self.point('after ' + name)
            return result

        return call


def run(words, kill=0):
    """The agent in a process of its own: exit code, its lines, its kinds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = 99
        try:
            sys.stdout = io.StringIO()
            killer = Killer(kill)
            code = agent.main(words)
            text = json.dumps(
                [sys.stdout.getvalue().splitlines(), killer.kinds]
            )
            with os.fdopen(writing, 'w') as file:
                file.write(text)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    status = os.waitpid(child, 0)[1]
    said, kinds = json.loads(text) if text else ([], {})
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else status >> 8
    return code, [json.loads(line) for line in said], kinds


class Trial:
    """One tree, built anew for each kill."""

    def __init__(self, directory, pairs):
        self.directory, self.pairs = directory, pairs
        self.top = directory + '/tree'
        self.state = directory + '/state'
        self.wrong = []
        self.kinds = collections.Counter()
        self.fresh()
        self.after = trees.expected(trees.snapshot(self.top), pairs)

    def fresh(self):
        for path in (self.top, self.state):
            shutil.rmtree(path, ignore_errors=True)
        trees.build(self.top)
        self.before = trees.snapshot(self.top)

    def agent(self, action, kill=0):
        words = ['owners', action, '--root', self.top + '/in']
        words += ['--state', self.state] + self.pairs
        return run(words, kill)

    def must(self, what, action, state, code=0):
        """It ends well, and the files are in that state."""
        got, said, _kinds = self.agent(action)
        differ = trees.difference(
            trees.snapshot(self.top),
            self.before
            if state == 'before'
            else trees.expected(self.before, self.pairs),
        )
        if got != code or differ:
            self.wrong.append(
                [what, action, got, repr(said[-3:]), repr(differ)]
            )

    def change(self):
        """Each kill of a change: go on, undo; and undo at once."""
        kill = 0
        while True:
            kill += 1
            self.fresh()
            code, said, kinds = self.agent('change', kill)
            if code != -signal.SIGKILL:
                break
            self.must('change killed at %d' % kill, 'change', 'after')
            if not kill % 5:
                self.must('change killed at %d' % kill, 'verify', 'after')
            self.must('change killed at %d' % kill, 'undo', 'before')
            self.fresh()
            self.agent('change', kill)
            self.must('change killed at %d' % kill, 'undo', 'before')
        self.kinds.update(kinds)
        if code:
            self.wrong.append(['change', code, repr(said[-3:])])
        # killed while it goes on
        for second in range(1, 40, 3):
            self.fresh()
            self.agent('change', kill // 2)
            self.agent('change', second)
            self.must('killed twice, %d' % second, 'change', 'after')
            self.must('killed twice, %d' % second, 'undo', 'before')
        return kill - 1

    def undo(self):
        """Each kill of an undo: again; and killed in that, too."""
        kill = 0
        while True:
            kill += 1
            self.fresh()
            self.agent('change')
            code, said, kinds = self.agent('undo', kill)
            if code != -signal.SIGKILL:
                break
            self.agent('undo', 1 + kill // 2)
            self.must('undo killed at %d' % kill, 'undo', 'before')
            if not kill % 5:
                self.must('undone at %d' % kill, 'undo', 'before')
                self.must('undone at %d' % kill, 'change', 'after')
        self.kinds.update(kinds)
        if code:
            self.wrong.append(['undo', code, repr(said[-3:])])
        return kill - 1


def main():
    trial = Trial(sys.argv[1], sys.argv[2:])
    kills = [trial.change(), trial.undo()]
    print(
        json.dumps(
            {
                'python': sys.version.split()[0],
                'kills': kills,
                'kinds': trial.kinds,
                'wrong': trial.wrong[:5],
                'wrongs': len(trial.wrong),
            }
        )
    )


if __name__ == '__main__':
    main()
