# SPDX-License-Identifier: Apache-2.0

"""Step 4 after a disaster, beside the guide's loop over its map file.

``python -m tests.bench.attach``: on the practice cloud, which is reset
before and after. The guide's loop is ``openstack server add volume``, which
waits for nova, and ``sleep 2`` for each line; a few lines of it are timed and
the rest is extrapolated. Ours are the items that ``disaster plan --map``
makes for the same file, carried out by the runner with its journal on disk;
the time in which the plan is made is in it, the interpreter's start is not.
"""

from __future__ import annotations

import argparse
from concurrent import futures
import contextlib
import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import openstack

from nova_recovery import changes, conf
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner
from nova_recovery.procedures.disaster import procedure
from nova_recovery.procedures.disaster.request import Request
from tests.cloud.cloud import PracticeCloud
from tests.cloud.servers import create_volume

#: A line of the guide's map file: volume, server, device.
Line = tuple[str, str, str]
_SLEEP = 2


def run(volumes: int = 200, servers: int = 20, timed: int = 10) -> float:
    """Attach volumes both ways; print and return the ratio.

    :param volumes: as many are attached by ours
    :param servers: that they are attached to, on all hosts
    :param timed: as many are attached by the guide's loop
    """
    practice = PracticeCloud()
    practice.reset()
    practice.ensure_up()
    for name, value in practice.environment('admin').items():
        os.environ[name] = value
    try:
        lines = _prepared(practice, volumes + timed, servers)
        with tempfile.TemporaryDirectory() as name:
            guide = _guide(lines[:timed]) / timed * volumes
            ours = _ours(practice, lines[timed:], pathlib.Path(name))
    finally:
        practice.reset()
    ratio = guide / ours
    print(
        f'{volumes} volumes attached again to {servers} servers\n'
        f"guide's loop  {guide:8.1f} s  (extrapolated: {timed} of them "
        f'took {guide / volumes * timed:.1f} s)\n'
        f'ours          {ours:8.1f} s  ({volumes / ours:.1f} a second)\n'
        f'ratio         {ratio:8.1f}'
    )
    return ratio


def _prepared(
    practice: PracticeCloud, volumes: int, servers: int
) -> list[Line]:
    """Servers, and volumes that are theirs and not attached."""
    hosts = practice.config.hosts
    with futures.ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(
                lambda n: practice.create_server(
                    f'bench-{n}', host=hosts[n % len(hosts)]
                ),
                range(servers),
            )
        )
    owner = practice.connection('admin', 'demo')
    # each is waited for: cinder would begin with all of them at once
    with futures.ThreadPoolExecutor(4) as pool:
        ids = list(
            pool.map(
                lambda n: create_volume(owner, f'bench-{n}'), range(volumes)
            )
        )
    return [
        (
            volume,
            str(made[n % servers].id),
            f'/dev/sd{chr(ord("b") + n // servers)}',
        )
        for n, volume in enumerate(ids)
    ]


def _guide(lines: list[Line]) -> float:
    """The guide's loop; seconds."""
    program = pathlib.Path(sys.executable).parent / 'openstack'
    began = time.perf_counter()
    for volume, server, device in lines:
        subprocess.run(
            [
                *(program, 'server', 'add', 'volume', server, volume),
                *('--device', device),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(_SLEEP)
    return time.perf_counter() - began


def _ours(
    practice: PracticeCloud, lines: list[Line], home: pathlib.Path
) -> float:
    """Step 4 of a plan that was made for these lines; seconds."""
    for volume, server, _ in lines:
        # that of a disaster was attached: its row tells that it may write
        practice.sql(
            'cinder',
            'INSERT INTO volume_attachment (id, volume_id, instance_uuid,'
            ' attach_mode, attach_status, deleted, deleted_at) VALUES'
            " (UUID(), %s, %s, 'rw', 'detached', 1, UTC_TIMESTAMP())",
            [volume, server],
        )
    map_file = home / 'map'
    map_file.write_text(''.join(f'{" ".join(line)}\n' for line in lines))
    conf_file = home / 'nova-recovery.conf'
    conf_file.write_text(
        '[DEFAULT]\n'
        f'nova_config_dir = {practice.config.etc / "nova"}\n'
        f'cinder_config_file = {practice.cinder_config_file()}\n'
    )
    cloud = Cloud(conf.load(files=[str(conf_file)]), openstack.connect)
    began = time.perf_counter()
    whole = procedure.make_plan(cloud, Request(map_file=str(map_file)))
    plan = dataclasses.replace(
        whole,
        steps=tuple(step for step in whole.steps if step.name == 'attach'),
    )
    total = sum(1 for _ in plan.items())
    if total != len(lines):
        raise SystemExit(f'{total} of {len(lines)}: {whole.left_out}')
    url = f'sqlite:///{home}/journal.sqlite'
    with contextlib.closing(Journal.open(url)) as journal:
        run_id = journal.create_run(
            plan, who='bench', machine='here', command='bench'
        )
        one: Any = Runner(
            journal,
            changes.registry(),
            cloud,
            reporter=PlainReporter(io.StringIO()),
            workers=cloud.conf.runner.workers,
        )
        outcome = one.carry_out(run_id)
    seconds = time.perf_counter() - began
    if outcome.counts != {'done': len(lines)}:
        raise SystemExit(f'not all were attached: {outcome.counts}')
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.attach')
    parser.add_argument('--volumes', type=int, default=200)
    parser.add_argument('--servers', type=int, default=20)
    parser.add_argument('--timed', type=int, default=10)
    parsed = parser.parse_args()
    run(parsed.volumes, parsed.servers, parsed.timed)


if __name__ == '__main__':
    main()
