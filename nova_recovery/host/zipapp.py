# SPDX-License-Identifier: Apache-2.0

"""The agent as one file that any Python from 3.6 on runs.

The same sources give the same bytes, and their hash is in the name: a host
that has the file has this agent.
"""

from __future__ import annotations

import ast
import base64
import bz2
import dataclasses
import functools
import hashlib
import io
import pathlib
import tokenize
import zipfile

_PACKAGE = pathlib.Path(__file__).parents[1]
#: What is packed besides the agent: packages must be there to be imported.
_ABOVE = ('__init__.py', 'host/__init__.py')
_START = """\
import sys

from nova_recovery.host.agent.__main__ import main

sys.exit(main())
"""
#: The first moment that a zip file can name.
_EPOCH = (1980, 1, 1, 0, 0, 0)
#: One argument of a program may have 128 KB (MAX_ARG_STRLEN), and the shell
#: on the host gets the whole command line as one.
AT_MOST = 80_000


@dataclasses.dataclass(frozen=True)
class Agent:
    """The agent as it is sent.

    :ivar name: the name of its file, such as ``agent-0c6a1f….pyz``
    :ivar content: the bytes of the file
    :ivar packed: the same, by bzip2 and in base64: a fifth less than by zlib
    """

    name: str
    content: bytes
    packed: str


@functools.cache
def agent() -> Agent:
    """Build the agent from the sources beside this file; once a process."""
    return build(_PACKAGE)


def build(package: pathlib.Path) -> Agent:
    """Build the agent from the sources of ``nova_recovery``.

    :raises ValueError: it would be too long for a command line
    """
    sources = {
        f'nova_recovery/{name}': (package / name).read_bytes()
        for name in _ABOVE
    }
    for path in (package / 'host' / 'agent').rglob('*.py'):
        name = path.relative_to(package).as_posix()
        sources[f'nova_recovery/{name}'] = lean(path.read_text()).encode()
    sources['__main__.py'] = _START.encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, 'w', zipfile.ZIP_STORED) as archive:
        for name, content in sorted(sources.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    content = written.getvalue()
    packed = base64.b64encode(bz2.compress(content)).decode()
    if len(packed) > AT_MOST:
        raise ValueError(
            f'the agent has {len(packed)} bytes in base64, more than {AT_MOST}'
        )
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Agent(f'agent-{digest}.pyz', content, packed)


def lean(source: str) -> str:
    """A module without what only its readers need; a fifth of what is sent.

    The docstring of the module stays, which is the help of a verb.
    """
    lines = source.splitlines(keepends=True)
    left = dict(enumerate(lines, 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        number, column = token.start
        # the licence is the first line
        if token.type == tokenize.COMMENT and number > 1:
            before = lines[number - 1][:column].rstrip()
            left[number] = f'{before}\n' if before else ''
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            first = node.body[0]
            if ast.get_docstring(node) and len(node.body) > 1:
                end = first.end_lineno or first.lineno
                left |= dict.fromkeys(range(first.lineno, end + 1), '')
    return ''.join(left.values())
