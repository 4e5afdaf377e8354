# SPDX-License-Identifier: Apache-2.0

"""OpenSSH's own client, without a prompt, a terminal, a shell or a hang.

Whom to trust and how to get there is the operator's: their ssh_config, keys,
jump hosts and known_hosts count, and a host key is never taken unseen. Given
here is only what a run without a person needs, and time limits where
ssh_config has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import contextlib
import dataclasses
import os
import re
import selectors
import signal
import subprocess  # nosec B404
import time

from nova_recovery.engine import printable
from nova_recovery.exceptions import ConfigError, UsageError

#: What ssh ends with when it is ssh that failed (ssh(1), EXIT STATUS).
FAILED = 255
#: Bytes of what a guest says that are kept, of each stream.
KEPT = 16384
#: Seconds between two signs of life, and how many may be missed.
KEEPALIVE, MISSED = 5, 3
#: Seconds for what is still in the pipes of an ssh that has ended.
_DRAIN = 0.5

#: Not left to ssh_config. Nobody can be asked; a guest must not use the
#: operator's agent or display; a shared connection would be the one from
#: before the reboot; the command is ours, and has no terminal.
_OURS = (
    'BatchMode=yes',
    'ForwardAgent=no',
    'ForwardX11=no',
    'ClearAllForwardings=yes',
    'ControlMaster=no',
    'ControlPath=none',
    'RemoteCommand=none',
    'RequestTTY=no',
)

#: What a plan may hold, which somebody else may carry out: nothing that runs
#: a program or loads a library on their machine.
OPTIONS = frozenset(
    name.lower()
    for name in (
        'AddressFamily BindAddress BindInterface CASignatureAlgorithms'
        ' CertificateFile CheckHostIP Ciphers Compression ConnectionAttempts'
        ' ConnectTimeout GlobalKnownHostsFile GSSAPIAuthentication'
        ' HostKeyAlgorithms HostKeyAlias HostName IdentitiesOnly IdentityAgent'
        ' IdentityFile IPQoS KexAlgorithms LogLevel MACs Port'
        ' PreferredAuthentications ProxyJump PubkeyAcceptedAlgorithms'
        ' PubkeyAcceptedKeyTypes PubkeyAuthentication ServerAliveCountMax'
        ' ServerAliveInterval StrictHostKeyChecking TCPKeepAlive User'
        ' UserKnownHostsFile VerifyHostKeyDNS'
    ).split()
)
_HOST = re.compile(r'[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?')
_ADDRESS6 = re.compile(r'[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?')
_USER = re.compile(r'[A-Za-z0-9_][A-Za-z0-9._@-]*')
_JUMP = re.compile(r'[A-Za-z0-9_\[][A-Za-z0-9._@:,/%\[\]-]*')
_OPTION = re.compile(r'([A-Za-z0-9]+)=(.+)')

#: What ssh says when the jump host's ssh has said why.
_ECHO = re.compile(r'Connection (closed|reset) by UNKNOWN port 65535')
#: Trying again won't help, and what will.
_FINAL = {
    'Host key verification failed': (
        'its host key is not the one in your known_hosts, or not there at '
        'all: put it there once you know it from elsewhere'
    ),
    'Permission denied': 'none of your keys opens it for this user',
    'Too many authentication failures': (
        'name the key: IdentityFile and IdentitiesOnly in ssh_config'
    ),
    'Name or service not known': '',
    'Unable to negotiate': '',
    'Bad configuration option': '',
    'Bad owner or permissions': '',
    'terminating, ': '',
}


@dataclasses.dataclass(frozen=True)
class Way:
    """How a guest is reached.

    :ivar address: or a host of ssh_config
    :ivar user: None leaves it to ssh_config
    :ivar options: NAME=VALUE, those of ssh_config that OPTIONS has
    :ivar config_file: instead of the operator's own
    :ivar connect: seconds until it has answered, where ssh_config has none
    :ivar limit: seconds after which ssh is killed
    """

    address: str
    user: str | None = None
    options: tuple[str, ...] = ()
    config_file: str | None = None
    connect: int = 10
    limit: float = 40


@dataclasses.dataclass(frozen=True)
class Said:
    """What came of a command.

    :ivar code: of the command; FAILED is of ssh; None: it had to be killed
    :ivar out: what it wrote, at most KEPT
    :ivar err: what it and ssh complained of, at most KEPT
    """

    code: int | None
    out: str = ''
    err: str = ''

    @property
    def problem(self) -> str:
        """The last complaint that says why, on one line, with what helps."""
        lines = [printable.clean(x.strip()) for x in self.err.splitlines()]
        why = [line for line in lines if line and not _ECHO.match(line)]
        last = (why or [line for line in lines if line] or [''])[-1][:200]
        if self.code is None:
            last = last or 'no answer'
            return f'{last} (ssh did not end in time and was killed)'
        helps = self._final() or ''
        text = last or f'ssh ended with {self.code}'
        return f'{text}: {helps}' if helps else text

    @property
    def hopeless(self) -> bool:
        """Whether ssh failed by something that waiting doesn't mend."""
        return self.code == FAILED and self._final() is not None

    def _final(self) -> str | None:
        return next((h for t, h in _FINAL.items() if t in self.err), None)


# What may stand on the command line


def check(
    address: str, user: str | None = None, options: Iterable[str] = ()
) -> None:
    """Refuse what ssh, or a shell behind it, could take for something else.

    An ssh_config may hand %h and %r to a shell (ProxyCommand, Match exec).

    :raises UsageError: naming it
    """
    if not (_HOST.fullmatch(address) or _ADDRESS6.fullmatch(address)):
        raise UsageError(
            f'{_shown(address)} is neither an address nor the name of a host, '
            'such as 10.0.0.7 or debian@web1'
        )
    if user is not None:
        check_user(user)
    check_options(options)


def check_user(user: str) -> None:
    """See ``check``."""
    if not _USER.fullmatch(user):
        raise UsageError(f'{_shown(user)} is no name of a user')


def check_options(options: Iterable[str]) -> None:
    """See ``check``."""
    for option in options:
        found = _OPTION.fullmatch(option)
        if found is None or not option.isprintable():
            raise UsageError(
                f'ssh option {_shown(option)}: give NAME=VALUE, such as '
                'Port=2222'
            )
        name, value = found.group(1).lower(), found.group(2).strip().lower()
        if name not in OPTIONS:
            raise UsageError(
                f'ssh option {found.group(1)} is not given from here: write '
                'it into your ssh_config'
            )
        if name == 'stricthostkeychecking' and value not in (
            'yes',
            'ask',
            'accept-new',
        ):
            raise UsageError(
                'host keys are checked: StrictHostKeyChecking is yes or '
                'accept-new'
            )
        if name == 'proxyjump' and not _JUMP.fullmatch(value):
            raise UsageError(
                f'{_shown(value)} is no jump host, such as '
                'ProxyJump=admin@bastion:22'
            )


def _shown(text: str) -> str:
    return f'"{printable.clean(text)[:80]}"'


def command(way: Way, line: str, known: Mapping[str, str]) -> list[str]:
    """The words of ssh that carry out a line on a guest.

    :param line: for the shell of the user over there
    :param known: what ssh_config and the options of the way say, as
        ``configured`` returns it
    :raises UsageError: see ``check``
    """
    words = [*_program(way, _OURS), '-T']
    if known.get('connecttimeout', 'none') in ('none', '0'):
        words += ['-o', f'ConnectTimeout={way.connect}']
    if known.get('serveraliveinterval', '0') == '0':
        words += ['-o', f'ServerAliveInterval={KEEPALIVE}']
        words += ['-o', f'ServerAliveCountMax={MISSED}']
    return [*words, '--', way.address, line]


def _program(way: Way, first: Iterable[str] = ()) -> list[str]:
    check(way.address, way.user, way.options)
    words = ['ssh']
    if way.config_file:
        words += ['-F', way.config_file]
    # of several values ssh takes the first
    for option in (*first, *way.options):
        words += ['-o', option]
    if way.user:
        words += ['-l', way.user]
    return words


# Running it


def configured(way: Way) -> dict[str, str]:
    """What ssh would do, option by option in lower case; {} if it fails.

    :raises UsageError: see ``check``
    :raises ConfigError: there is no ssh
    """
    # Without BatchMode, with which Debian's ssh has a ServerAliveInterval of
    # 300 that nobody asked for.
    said = _run([*_program(way), '-G', '--', way.address], 10)
    if said.code != 0:
        # the command itself will fail by the same, and be told then
        return {}
    pairs = (line.partition(' ') for line in said.out.splitlines())
    return {name: value for name, _space, value in pairs}


def run(way: Way, line: str) -> Said:
    """Carry out a line on a guest; always ends within ``way.limit``.

    :raises UsageError: see ``check``
    :raises ConfigError: there is no ssh
    """
    return _run(command(way, line, configured(way)), way.limit)


def _run(words: list[str], limit: float) -> Said:
    deadline = time.monotonic() + limit
    try:
        # A session of its own: Ctrl-C on the terminal is for us, not for a
        # request in flight, and what ssh started ends with it.
        process = subprocess.Popen(  # nosec B603
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, 'LC_ALL': 'C'},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ConfigError(
            'there is no ssh: install the OpenSSH client'
        ) from None
    with process:
        try:
            out, err = _read(process, deadline)
            ended = process.poll() is not None
        finally:
            _kill(process)
    code = process.returncode if ended else None
    return Said(code, _text(out), _text(err))


def _read(
    process: subprocess.Popen[bytes], deadline: float
) -> tuple[bytes, bytes]:
    """What it writes until it ends, or the deadline."""
    kept: dict[str, bytes] = {'out': b'', 'err': b''}
    with selectors.DefaultSelector() as selector:
        for name, pipe in (('out', process.stdout), ('err', process.stderr)):
            assert pipe is not None  # nosec B101: both are PIPE
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, name)
        until = deadline
        while selector.get_map() or process.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                break
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(left)
                break
            for key, _events in selector.select(min(left, 0.2)):
                chunk = os.read(key.fd, KEPT)
                if not chunk:
                    selector.unregister(key.fileobj)
                # what is too much is thrown away, not left in the pipe
                kept[key.data] = (kept[key.data] + chunk)[:KEPT]
            if until == deadline and process.poll() is not None:
                # the master of a shared connection to a jump host may have
                # inherited a pipe, and keep it open
                until = min(deadline, time.monotonic() + _DRAIN)
    return kept['out'], kept['err']


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started (ProxyCommand, the ssh of a jump host)."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _text(data: bytes) -> str:
    return data.decode(errors='replace')
