# SPDX-License-Identifier: Apache-2.0

"""The kernel and the file system that all guests boot from, made once."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import fcntl
import gzip
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess

from tests.cloud.process import CloudError
from tests.guests import debian
from tests.guests.cpio import Archive

_HERE = pathlib.Path(__file__).parent
_MODULES = ('virtio_pci', 'virtio_net', 'virtio_rng')


@dataclasses.dataclass(frozen=True)
class Image:
    """What a guest boots, and the keys that go with it.

    :ivar key: of the user root of every guest; an OpenSSH private key
    :ivar host_key: of every guest, the public half, as known_hosts has it
    """

    kernel: pathlib.Path
    archive: pathlib.Path
    key: pathlib.Path
    host_key: str


def state_directory() -> pathlib.Path:
    """Return where images and guests are kept."""
    given = os.environ.get('NOVA_RECOVERY_GUESTS')
    return pathlib.Path(given or _HERE.parent.parent / '.guests').absolute()


def build() -> Image:
    """Return the image; make it first where it isn't there or is old.

    :raises CloudError: what it is made of can't be had
    """
    directory = state_directory()
    directory.mkdir(parents=True, exist_ok=True)
    debian.install()
    wanted = hashlib.sha256(
        b''.join(path.read_bytes() for path in sorted(_HERE.glob('*.*')))
    ).hexdigest()
    with _locked(directory / 'lock'):
        complete = directory / 'image' / 'complete'
        if not complete.exists() or complete.read_text() != wanted:
            shutil.rmtree(directory / 'image', ignore_errors=True)
            _make(directory / 'image')
            complete.write_text(wanted)
    return _found(directory / 'image')


def _found(directory: pathlib.Path) -> Image:
    return Image(
        kernel=directory / 'vmlinuz',
        archive=directory / 'archive.gz',
        key=directory / 'key',
        host_key=(directory / 'host_key.pub').read_text().strip(),
    )


def _make(directory: pathlib.Path) -> None:
    root = directory / 'root'
    debian.unpack(root)
    _make_keys(directory, root)
    shutil.copy(next(root.glob('boot/vmlinuz-*')), directory / 'vmlinuz')
    archive = Archive()
    for path in ('dev', 'proc', 'sys', 'tmp', 'run', 'modules'):
        archive.directory(path)
    _add_programs(archive, root)
    for number, module in enumerate(_modules(root)):
        archive.file(f'modules/{number:02}-{module.stem}', _plain(module))
    archive.file('init', (_HERE / 'init.sh').read_bytes())
    archive.file('sbin/shutdown', (_HERE / 'shutdown.sh').read_bytes())
    archive.file('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n', 0o644)
    archive.file('etc/group', b'root:x:0:\n', 0o644)
    archive.file('etc/shells', b'/bin/sh\n', 0o644)
    # a password that nobody has; dropbear refuses a locked account
    archive.file('etc/shadow', b'root:x:19000:0:99999:7:::\n', 0o600)
    archive.file(
        'etc/dropbear/dropbear_ed25519_host_key',
        (directory / 'host_key').read_bytes(),
        0o600,
    )
    archive.directory('root', 0o700)
    archive.directory('root/.ssh', 0o700)
    archive.file(
        'root/.ssh/authorized_keys',
        (directory / 'key.pub').read_bytes(),
        0o600,
    )
    (directory / 'archive.gz').write_bytes(
        gzip.compress(archive.finished(), 1)
    )
    shutil.rmtree(root)


def _make_keys(directory: pathlib.Path, root: pathlib.Path) -> None:
    """One for the user, by OpenSSH, and one for the host, by dropbear."""
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tester",
         "-f", str(directory / "key"))  # fmt: skip
    path = directory / 'host_key'
    made = _run_unpacked(root, 'dropbearkey', '-t', 'ed25519', '-f', str(path))
    public = re.search(r'^(ssh-ed25519 \S+)', made, re.M)
    assert public, made
    path.with_suffix('.pub').write_text(public.group(1))


def _add_programs(archive: Archive, root: pathlib.Path) -> None:
    busybox = _only(root, 'busybox')
    archive.file('bin/busybox', busybox.read_bytes())
    for name in _run(str(busybox), '--list').split():
        if name not in ('busybox', 'shutdown'):
            archive.link(f'bin/{name}', 'busybox')
    archive.file('sbin/dropbear', _only(root, 'dropbear').read_bytes())
    loaded = _run_unpacked(root, 'dropbear', listing=True)
    libraries = {
        pathlib.Path(found).name: pathlib.Path(found)
        for found in re.findall(r'(/\S+)', loaded)
        if found.startswith(str(root))
    }
    for name, path in libraries.items():
        # a program names its loader by its whole path, and the loader looks
        # for the others here
        place = 'lib64' if name.startswith('ld-') else 'lib/x86_64-linux-gnu'
        archive.file(f'{place}/{name}', path.read_bytes())


def _modules(root: pathlib.Path) -> list[pathlib.Path]:
    """The files of the modules, each after those that it needs."""
    files = {
        path.name.partition('.')[0].replace('-', '_'): path
        for path in root.glob('**/lib/modules/**/*.ko*')
    }
    ordered: list[pathlib.Path] = []

    def add(name: str) -> None:
        if name not in files or files[name] in ordered:
            # not a file: it is part of the kernel
            return
        found = re.search(rb'\0depends=([^\0]*)\0', _plain(files[name]))
        for needed in found.group(1).decode().split(',') if found else ():
            add(needed)
        ordered.append(files[name])

    for name in _MODULES:
        add(name)
    return ordered


def _plain(module: pathlib.Path) -> bytes:
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == '.xz' else content


def _only(root: pathlib.Path, program: str) -> pathlib.Path:
    for place in ('bin', 'sbin', 'usr/bin', 'usr/sbin'):
        if (root / place / program).is_file():
            return root / place / program
    raise CloudError(f'no package has {program}')


def _run_unpacked(
    root: pathlib.Path, program: str, *words: str, listing: bool = False
) -> str:
    """Run an unpacked program with the libraries unpacked beside it.

    :param listing: only tell which libraries it loads
    """
    loader = next(
        path
        for path in root.glob('**/ld-linux-x86-64.so.2')
        if path.exists() and path.parent.name != 'lib64'
    )
    return _run(
        str(loader),
        *(['--list'] if listing else []),
        '--library-path',
        ':'.join(
            str(root / place)
            for place in ('lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu')
        ),
        str(_only(root, program)),
        *words,
    )


def _run(*words: str) -> str:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise CloudError(f'{" ".join(words)}: {done.stderr[-500:]}')
    return done.stdout


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> collections.abc.Iterator[None]:
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
