# SPDX-License-Identifier: Apache-2.0

"""What the shell of a host is given: any sh, any Python from 3.6 on.

It stands in the host's list of processes and in sudo's log, so it has no
secret and is short: the agent itself is sent only to a host that lacks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import secrets
import shlex
from typing import Any

from nova_recovery.host.zipapp import Agent

#: RHEL 8 without the module python3 has but the second.
PYTHONS = (
    '/usr/bin/python3',
    '/usr/libexec/platform-python',
    '/usr/local/bin/python3',
)
_UNPACK = (
    'import base64,bz2,os,sys;n=sys.argv[1];d=os.path.dirname(n);'
    'os.makedirs(d,0o700,exist_ok=True);t=n+".%d"%os.getpid();'
    'f=os.open(t,os.O_WRONLY|os.O_CREAT|os.O_EXCL,0o600);'
    'b=bz2.decompress(base64.b64decode(sys.argv[2]));'
    'w=os.fdopen(f,"wb");w.write(b);w.flush();os.fsync(f);w.close();'
    'os.rename(t,n)'
)


#: A verb and its options, see :func:`verb`.
Words = tuple[str, Mapping[str, Any]]


def mark() -> str:
    """A word that nothing else on a terminal says."""
    return secrets.token_hex(8)


def verb(words: str, data: Mapping[str, Any] | None = None) -> list[str]:
    """A verb and its data as a person would type them.

    :param data: option -> value; a list repeats the option, True gives it no
        value, None and False leave it out
    """
    typed = words.split()
    for name, value in (data or {}).items():
        option = '--' + name.replace('_', '-')
        if value is True:
            typed.append(option)
            continue
        if value is None or value is False:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        for one in values:
            # with =, or a value that begins with - is an option
            typed.append(f'{option}={one}')
    return typed


def call(
    agent: Agent, home: str, mark: str, words: Sequence[str], send: bool
) -> str:
    """The script that has the agent carry out a verb.

    :param home: the directory on the host for the agent
    :param send: put the agent there first; else, where it isn't there, the
        script says so and does nothing
    """
    path = shlex.quote(f'{home}/{agent.name}')
    # $m, so that an echo of the script is no answer
    say = '{ echo; echo nova-recovery:$m:lacks-%s:end; exit 0; }'
    lines = [
        f'm={mark}',
        f'for p in {" ".join(PYTHONS)}; do [ -x $p ] && break; done',
        f'[ -x $p ] || {say % "python"}',
    ]
    if send:
        lines.append(
            f"[ -f {path} ] || $p -c '{_UNPACK}' {path} {agent.packed} 2>&1"
            f' || {say % "place"}'
        )
    else:
        lines.append(f'[ -f {path} ] || {say % "agent"}')
    typed = ['--answer', mark, '--home', home, *words]
    lines.append(f'exec $p {path} {" ".join(map(_quoted, typed))}')
    return '\n'.join(lines)


def _quoted(word: str) -> str:
    """A word for the shell in which Ansible finds nothing to replace."""
    # such a word is in single quotes, which end and begin behind each brace
    return shlex.quote(word).replace('{', "{''")
