# SPDX-License-Identifier: Apache-2.0

"""A Ceph of one monitor and one OSD in memory, on loopback: up in seconds."""

from __future__ import annotations

import pathlib
import shutil
import socket
import subprocess
from typing import Any
import uuid

import fixtures

from tests.cloud import packages, process

#: Debian packages, and a file that shows that each one is there.
_DEBIAN = {
    'ceph-mon': 'usr/bin/ceph-mon',
    'ceph-osd': 'usr/bin/ceph-osd',
    'ceph-common': 'usr/bin/rbd',
    'python3-rbd': 'usr/lib/python3/dist-packages/rbd*',
}
_CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{port}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mon_warn_on_pool_no_redundancy = false
auth_allow_insecure_global_id_reclaim = false
osd_client_watch_timeout = 5
run_dir = {top}
admin_socket = {top}/$name.asok
log_file = {top}/$name.log
pid_file = {top}/$name.pid
keyring = {top}/keyring
mon_data = {top}/mon.a
osd_data = {top}/osd.0
osd_objectstore = memstore
memstore_device_bytes = 268435456
osd_class_default_list = *
osd_class_load_list = *
"""
#: As a guest has its disk: open, with the lock. Until it is killed.
_GUEST = """\
import rados, rbd, sys, time
with rados.Rados(conffile=sys.argv[1], rados_id='cinder') as cluster:
    with cluster.open_ioctx('volumes') as pool, rbd.Image(pool, 'v') as image:
        image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
        print('open', flush=True)
        time.sleep(600)
"""


class Ceph(fixtures.Fixture):
    """It has a pool "volumes" with an image "v", and the user "cinder".

    :ivar conf: path of its configuration
    :ivar port: of its monitor; the OSD takes one that is free
    """

    def _setUp(self) -> None:
        self.top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = self.top / 'ceph.conf'
        packages.install_debian(self.top / 'install.log', _DEBIAN)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        text = _CONF.format(fsid=uuid.uuid4(), top=self.top, port=self.port)
        self.conf.write_text(text)
        self.monitor()
        self.osd()
        self.run('osd', 'pool', 'create', 'volumes', '8')
        self.rbd('pool', 'init', 'volumes')
        self.rbd('create', 'volumes/v', '--size', '8')
        self.caps('profile rbd')

    def monitor(self) -> None:
        ring, ids = self.top / 'keyring', self.top / 'monmap'
        tool = ['ceph-authtool', str(ring), '--gen-key']
        self._program(*tool, '--create-keyring', '-n', 'mon.', '--cap',
                      'mon', 'allow *')  # fmt: skip
        for who in ('mon', 'osd', 'mgr'):
            tool += ['--cap', who, 'allow *']
        self._program(*tool, '-n', 'client.admin')
        self._program(
            *('monmaptool', '--create', '--fsid', self.option('fsid')),
            *('--addv', 'a', f'[v2:127.0.0.1:{self.port}]', str(ids)),
        )
        self._program(
            *('ceph-mon', '--mkfs', '-i', 'a', '--monmap', str(ids)),
            *('--keyring', str(ring)),
        )
        self.daemon('ceph-mon', '-i', 'a', '--public-addr', '127.0.0.1')

    def osd(self) -> None:
        own = str(uuid.uuid4())
        key = self.run(
            *('auth', 'get-or-create', 'osd.0', 'mon', 'allow profile osd'),
            *('osd', 'allow *'),
        )
        with (self.top / 'keyring').open('a') as ring:
            ring.write(key)
        (self.top / 'osd.0').mkdir()
        self.run('osd', 'new', own, '0')
        self._program('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', own)
        self.daemon('ceph-osd', '-i', '0')

    def option(self, name: str) -> str:
        lines = self.conf.read_text().splitlines()
        return next(x for x in lines if x.startswith(name)).split(' = ')[1]

    def daemon(self, *words: str) -> None:
        """Start one in the foreground, to be ended with the test."""
        program = subprocess.Popen(
            [*words, '--conf', str(self.conf), '-f'],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(_end, program)

    def run(self, *words: str) -> str:
        """A command of ``ceph``, as the administrator."""
        return self._program('ceph', *words)

    def rbd(self, *words: str) -> str:
        return self._program('rbd', *words)

    def caps(self, mon: str) -> None:
        """What the user "cinder" may; its key is where clients look."""
        words = ('mon', mon, 'osd', 'profile rbd')
        self.run('auth', 'get-or-create', 'client.cinder')
        self.run('auth', 'caps', 'client.cinder', *words)
        key = self.run('auth', 'get', 'client.cinder')
        text = (self.top / 'keyring').read_text()
        if 'client.cinder' not in text:
            (self.top / 'keyring').write_text(text + key)

    def guest(self) -> subprocess.Popen[str]:
        """A process that has the image open and locked."""
        program = subprocess.Popen(
            ['/usr/bin/python3', '-c', _GUEST, str(self.conf)],
            stdout=subprocess.PIPE,
            text=True,
            env=process.clean_environment(),
        )
        self.addCleanup(_end, program)
        assert program.stdout is not None
        assert program.stdout.readline() == 'open\n'
        return program

    def _program(self, *words: str) -> str:
        name = shutil.which(words[0], path='/usr/sbin:/usr/bin:/sbin:/bin')
        more: tuple[Any, ...] = ()
        if words[0] not in ('ceph-authtool', 'monmaptool'):
            more = ('--conf', str(self.conf))
        done = subprocess.run(
            [str(name), *words[1:], *more],
            capture_output=True,
            text=True,
            timeout=60,
            env=process.clean_environment(),
        )
        if done.returncode:
            raise AssertionError(f'{words}: {done.stderr}')
        return done.stdout


def _end(program: subprocess.Popen[Any]) -> None:
    program.kill()
    program.communicate()
