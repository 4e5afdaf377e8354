# SPDX-License-Identifier: Apache-2.0

"""A private RabbitMQ on loopback, and what waits in its queues."""

from __future__ import annotations

import json
import os
import subprocess

from tests.cloud.process import CloudError, Daemon
from tests.cloud.settings import Settings

_PROGRAMS = '/usr/lib/rabbitmq/bin'
_CONF = """\
loopback_users = none
vm_memory_high_watermark.absolute = 512MB
log.file.level = warning
"""


def _environment(config: Settings) -> dict[str, str]:
    home = config.state / 'rabbitmq'
    return {
        # the Erlang cookie is kept in HOME
        'HOME': str(home),
        'RABBITMQ_NODENAME': 'practice@localhost',
        'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
        'RABBITMQ_NODE_PORT': str(config.port('rabbitmq')),
        'RABBITMQ_DIST_PORT': str(config.port('rabbitmq-dist')),
        'RABBITMQ_MNESIA_BASE': str(home / 'mnesia'),
        'RABBITMQ_LOG_BASE': str(home / 'log'),
        'RABBITMQ_CONFIG_FILE': str(home / 'rabbitmq.conf'),
        'RABBITMQ_CONF_ENV_FILE': '/dev/null',
        'RABBITMQ_ENABLED_PLUGINS_FILE': str(home / 'enabled_plugins'),
        'RABBITMQ_PID_FILE': str(home / 'pid'),
        'RABBITMQ_CTL_ERL_ARGS': f'-sname ctl{os.getpid()}@localhost',
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': (
            '-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none'
        ),
        'ERL_EPMD_ADDRESS': '127.0.0.1',
        'ERL_EPMD_PORT': str(config.port('epmd')),
    }


def daemon(config: Settings, name: str) -> Daemon:
    """Return rabbitmq, or the epmd of its own that it registers with."""
    home = config.state / 'rabbitmq'
    (home / 'log').mkdir(parents=True, exist_ok=True)
    (home / 'rabbitmq.conf').write_text(_CONF)
    (home / 'enabled_plugins').write_text('[].\n')
    argv = {
        'epmd': ['epmd', '-port', str(config.port('epmd'))],
        'rabbitmq': [f'{_PROGRAMS}/rabbitmq-server'],
    }[name]
    return Daemon(
        name,
        argv,
        config.run / f'{name}.pid',
        config.logs / f'{name}.out',
        _environment(config),
        home,
    )


def control(config: Settings, *arguments: str) -> str:
    """Run rabbitmqctl and return what it printed; takes about a second.

    :raises CloudError: when it fails
    """
    done = subprocess.run(
        [f'{_PROGRAMS}/rabbitmqctl', '-q', *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **_environment(config)},
        timeout=60,
    )
    if done.returncode != 0:
        raise CloudError(
            f'rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}'
        )
    return done.stdout


def queue_depth(config: Settings, queue: str) -> int | None:
    """Return how many messages wait in a queue; None if there is none."""
    listed = json.loads(
        control(config, '--formatter=json', 'list_queues', 'name', 'messages')
    )
    depths = {row['name']: row['messages'] for row in listed}
    return depths.get(queue)


def purge_queue(config: Settings, queue: str) -> None:
    """Throw away what waits in a queue."""
    control(config, 'purge_queue', queue)


def purge_all(config: Settings) -> None:
    """Throw away what waits in all queues."""
    control(
        config,
        'eval',
        '[rabbit_amqqueue:purge(Q) || Q <- rabbit_amqqueue:list()].',
    )
