# SPDX-License-Identifier: Apache-2.0

"""How fast, measured: ratios of one run, never a time that must be met.

``python -m tests.bench`` runs all, ``python -m tests.bench clean attach``
these. Options go to the one that is named: ``clean --volumes 20000``.
"""

from __future__ import annotations

import importlib
import sys

from tests.cloud.cloud import PracticeCloud
from tests.cloud.process import CloudError

#: In this order; what each is beside.
BENCHES = {
    'journal': 'the journal, beside an fsync for each record',
    'snapshot': 'a snapshot, beside mariadb-dump of the same rows',
    'assess': 'what a power loss did, beside plain SELECTs',
    'clean': "step 2 on a Juno, beside the guide's four UPDATEs",
    'owners': "owners of files, beside find and the guide's four",
    'attach': "step 4 on the practice cloud, beside the guide's loop",
    'fleet': "200 hosts on loopback, beside Ansible's own raw",
}
#: What needs the practice cloud, which nobody starts by the way.
ON_THE_CLOUD = {'attach'}


def main(words: list[str]) -> None:
    names = []
    while words and not words[0].startswith('-'):
        names.append(words.pop(0))
    unknown = [name for name in names if name not in BENCHES]
    if unknown or (words and len(names) != 1):
        raise SystemExit(
            f'{__doc__}\n'
            + '\n'.join(f'{name:10}{what}' for name, what in BENCHES.items())
        )
    for name in names or BENCHES:
        print(f'== {name}: {BENCHES[name]}', flush=True)
        if name in ON_THE_CLOUD and not names and not cloud_is_up():
            print('left out: no practice cloud is up (tox -e cloud -- up)')
            continue
        # each can be run by itself, too, and reads its own options
        sys.argv[1:] = words
        importlib.import_module(f'tests.bench.{name}').main()


def cloud_is_up() -> bool:
    """Whether all services of the practice cloud run."""
    try:
        return all(PracticeCloud().status().values())
    except (CloudError, OSError):
        # never made
        return False


if __name__ == '__main__':
    main(sys.argv[1:])
