# SPDX-License-Identifier: Apache-2.0

"""The container recipe, on what kolla puts into each of its images.

No registry is asked: the image below it is a tree of Debian with kolla's own
scripts, accounts and rights (from kolla's release on PyPI), and Debian's
packages in place of what its virtual environment would have.
"""

from __future__ import annotations

import pathlib
import shutil
import sys

from tests.hosts import packages
from tests.packaging import trees
from tests.packaging.trees import BuildTestCase, within

KOLLA = 'kolla==20.0.0'
#: What of it is in each image -> its name there.
SCRIPTS = {
    'copy_cacerts.sh': 'kolla_copy_cacerts',
    'install_projects.sh': 'kolla_install_projects',
    'set_configs.py': 'kolla_set_configs',
    'start.sh': 'kolla_start',
}
#: kolla/common/users.py, docker/base/Dockerfile.j2
_BASE = """
chmod 755 /usr/local/bin/kolla_*
chmod 440 /etc/sudoers
groupadd -g 42400 kolla
useradd -l -M -s /usr/sbin/nologin -u 42400 -g 42400 kolla
groupadd -g 42436 nova
useradd -l -M -s /usr/sbin/nologin -u 42436 -g 42436 -G kolla nova
python3 -m venv --system-site-packages /var/lib/kolla/venv
install -d -g kolla -m 2775 /var/log/kolla
install -d /requirements
: > /requirements/upper-constraints.txt
"""
_BUILD = """
export BUILDAH_ISOLATION=chroot PBR_VERSION=1.0.0
python3 -c 'from pbr import build; build.build_wheel("dist")'
base=$(buildah from scratch)
cp -a /base/. "$(buildah mount "$base")"
buildah config --user root --cmd kolla_start --env \
    PATH=/var/lib/kolla/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "$base"
buildah commit -q "$base" kolla-base
buildah rm "$base"
buildah bud -q -f packaging/container/Containerfile \
    --build-arg BASE=localhost/kolla-base -t nova-recovery .
"""
#: Starts it, then does what an operator does in it.
_USE = """
export BUILDAH_ISOLATION=chroot
it=$(buildah from localhost/nova-recovery)
run() { buildah run --user nova "$@"; }
run -e KOLLA_CONFIG_STRATEGY=COPY_ALWAYS \
    -v /config:/var/lib/kolla/config_files:ro "$it" -- timeout 20 kolla_start \
    > started 2>&1 || true
run "$it" -- sh -c "$1" 2>&1 || true
"""
_NOVA = """
[api_database]
connection = mysql+pymysql://nova:secret@127.0.0.1:9/nova_api
[database]
connection = mysql+pymysql://nova:secret@127.0.0.1:9/nova_cell0
"""


class TestContainer(BuildTestCase):
    more = ('buildah', 'python3-wheel')

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.make_base(cls.root / 'base')
        trees.unpack_source(cls.root / 'source')
        within(cls.root, 'sh', '-ec', _BUILD, folder='/source')
        config = cls.root / 'config'
        config.mkdir()
        for name in ('config.json', 'nova-recovery.conf'):
            shutil.copy(trees.ROOT / 'packaging' / 'container' / name, config)
        (config / 'nova.conf').write_text(_NOVA)

    @classmethod
    def make_base(cls, base: pathlib.Path) -> None:
        trees.made(base, trees.to_build())
        trees.add(base, 'python3-venv', 'sudo')
        kolla = cls.root / 'kolla'
        uv = str(pathlib.Path(sys.executable).with_name('uv'))
        packages.run(
            *(uv, 'pip', 'install', '-q', '--python', sys.executable),
            *('--no-deps', '--target', str(kolla), KOLLA),
        )
        theirs = kolla / 'share' / 'kolla' / 'docker' / 'base'
        for name, there in SCRIPTS.items():
            shutil.copy(theirs / name, base / 'usr' / 'local' / 'bin' / there)
        shutil.copy(theirs / 'sudoers', base / 'etc' / 'sudoers')
        within(base, 'sh', '-ec', _BASE)

    def use(self, script: str) -> str:
        return within(self.root, 'sh', '-ec', _USE, 'sh', script)

    def test_kolla_starts_it_and_brings_its_files(self) -> None:
        said = self.use(
            'stat -c "%a %U %G %n" /etc/nova/nova.conf'
            ' /etc/nova-recovery/nova-recovery.conf /var/lib/nova-recovery'
            ' /var/log/kolla/nova-recovery'
        )
        self.assertIn(
            '600 nova nova /etc/nova/nova.conf\n'
            '600 nova nova /etc/nova-recovery/nova-recovery.conf\n'
            '700 nova nova /var/lib/nova-recovery\n',
            said,
        )
        self.assertRegex(said, r'\d*755 nova kolla /var/log/kolla/nova-recov')
        started = (self.root / 'started').read_text()
        self.assertIn('+ exec sleep infinity', started)

    def test_it_is_used_and_logs_where_kolla_collects(self) -> None:
        said = self.use(
            'nova-recovery config check --no-api; echo ended with $?;'
            ' python3 -m openstackclient.shell recovery run list -f json;'
            ' cat /var/log/kolla/nova-recovery/nova-recovery.log'
        )
        # nothing listens there, and it says so
        self.assertRegex(said, r'(?m)^ended with [14]$')
        self.assertNotIn('secret', said)
        self.assertIn('\n[]\n', said)
        self.assertRegex(said, r'(?m)config check ended with [14]$')
