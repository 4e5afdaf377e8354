# SPDX-License-Identifier: Apache-2.0

"""How many tests ran, in all runs that .stestr remembers.

``tox -e lower,cover`` runs stestr several times, and each tells its own totals
only. Prints what failed, with how its traceback ends, and how long each run
took, then one line, and ends with 1 if a test failed or none ran.
"""

from __future__ import annotations

import collections
import datetime
import sys
from typing import Any

from stestr.repository import file as repository
import testtools

#: How much of a traceback, in lines and their characters.
LINES, WIDTH = 20, 400

# how tests end well; "exists" is a test that was listed, not run
PASSED = ('success', 'xfail', 'exists')


def main() -> int:
    """Print the sums and return the exit code."""
    ended: collections.Counter[str] = collections.Counter()
    # of one run: when its tests began and ended, and what they took by class
    times: list[datetime.datetime] = []
    classes: collections.Counter[str] = collections.Counter()

    def count(test: dict[str, Any]) -> None:
        ended[test['status']] += 1
        if test['status'] not in PASSED:
            print(f'{test["status"]}: {test["id"]}')
            for name, text in test['details'].items():
                if name.startswith('traceback'):
                    lines = text.as_text().strip().splitlines()
                    for line in lines[-LINES:]:
                        print(f'    {line[:WIDTH]}')
        began, over = test['timestamps']
        if began and over:
            times.extend((began, over))
            name = test['id'].rpartition('.')[0]
            classes[name] += (over - began).total_seconds()

    runs = repository.RepositoryFactory().open('.')
    for number in range(runs.count()):
        times.clear()
        classes.clear()
        stream = testtools.StreamToDict(count)
        stream.startTestRun()
        runs.get_test_run(number).get_test().run(stream)
        stream.stopTestRun()
        if times:
            slowest = ', '.join(
                f'{name.rpartition(".")[2]} {seconds:.0f}'
                for name, seconds in classes.most_common(5)
            )
            ring = '.'.join(min(classes).split('.')[:2])
            seconds = (max(times) - min(times)).total_seconds()
            print(f'{ring}: {seconds:.0f} s; slowest: {slowest}')
    passed = sum(ended.pop(status, 0) for status in PASSED[:2])
    skipped = ended.pop('skip', 0)
    # a test that never ended counts as failed
    failed = sum(ended.values()) - ended.pop('exists', 0)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
