# SPDX-License-Identifier: Apache-2.0

"""The main job, for real: a host dies, its servers run again elsewhere.

Brings the practice cloud up, takes host1's power away, and lets the unified
client recover its ten servers. ``python -m tests.demo`` from the project.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

from tests.cloud.cloud import PracticeCloud

DEAD = 'host1'
HOSTS = ('host1', 'host2', 'host3')


def main() -> int:
    cloud = PracticeCloud()
    _say('1. The practice cloud: real OpenStack services, pretended guests')
    before = _state(cloud)
    cloud.up()
    if before != 'new':
        # A demo that ran before left its servers elsewhere.
        cloud.reset()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith('OS_')},
        **cloud.environment(),
        'NOVA_RECOVERY_CONFIG_FILE': cloud.recovery_config_file(),
        'PYTHONWARNINGS': 'ignore',
    }
    _guests(cloud)

    _say(f'2. {DEAD} loses its power')
    cloud.power_loss(DEAD)
    print(f'nova-compute of {DEAD} killed, its guests are off')
    cloud.wait_compute_down(DEAD)
    print(f'nova sees {DEAD} as down')

    _say('3. What is there to recover, and what speaks against which way')
    _run(
        environment,
        'recovery server list --host host1 -c Name -c ID -c "VM state" '
        '-c "Against evacuation"',
    )

    _say('4. The recovery: its plan, its progress, its result')
    code = _run(
        environment,
        'recovery host recover host1 --fenced "the demo pulled its plug" '
        '--shared-storage --yes',
    )
    _guests(cloud)

    _say('5. Look around')
    print(_AROUND.format(tox=_tox()))
    return code


_AROUND = """\
eval "$({tox} -qq -e cloud -- env)"     the cloud's credentials, for this shell
.tox/demo/bin/openstack server list --all-projects --long
.tox/demo/bin/openstack recovery run list
.tox/demo/bin/openstack recovery run show RUN --items
.tox/demo/bin/openstack recovery run report RUN
.tox/demo/bin/openstack recovery --help

{tox} -e cloud -- start nova-compute-host1    host1 returns and cleans up
{tox} -e cloud -- guests host1                see: nothing runs twice
{tox} -e cloud -- reset                       all as it was
{tox} -e cloud -- down                        stop everything"""


def _tox() -> str:
    local = pathlib.Path('.tools/bin/tox')
    return str(local) if local.exists() else 'tox'


def _state(cloud: PracticeCloud) -> str:
    return 'old' if (cloud.state / 'cloud.json').exists() else 'new'


def _say(text: str) -> None:
    print(f'\n--- {text}\n', flush=True)


def _run(environment: dict[str, str], words: str) -> int:
    print(f'$ openstack {words}', flush=True)
    program = pathlib.Path(sys.executable).with_name('openstack')
    done = subprocess.run(
        [str(program), *shlex.split(words)], env=environment, check=False
    )
    sys.stdout.flush()
    return done.returncode


def _guests(cloud: PracticeCloud) -> None:
    """What the hypervisors have, whatever nova believes."""
    for host in HOSTS:
        found = cloud.guests(host).values()
        states = [guest['state'] for guest in found]
        counts = ', '.join(
            f'{states.count(state)} {state}' for state in sorted(set(states))
        )
        print(f'{host}: {counts or "no guest"}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
