# SPDX-License-Identifier: Apache-2.0

"""``python3 -m nova_recovery.host.agent VERB ...``, by a person or a fleet."""

import argparse
import contextlib
import io
import sys
from typing import List, Optional

from nova_recovery.host.agent import (
    accounts,
    check,
    disks,
    filters,
    guests,
    identity,
    images,
    iscsi,
    lines,
    owners,
    paths,
    rules,
    runs,
    services,
    several,
    shared,
)
from nova_recovery.host.agent.runs import start, status, work

#: What can be asked. A verb is a module with ``HELP``,
#: ``add_arguments(parser)`` and ``run(parsed, say)``, which returns the exit
#: code; ``say(event, **fields)`` prints one line.
VERBS = {
    'identity': identity,
    'accounts': accounts,
    'owners': owners,
    'services': services,
    'shared': shared,
    'iscsi': iscsi,
    'check': check,
    'guests': guests,
    'paths': paths,
    'rules': rules,
    'filters': filters,
    'images': images,
    'disks': disks,
    'several': several,
    'start': start,
    'status': status,
    'work': work,
}


def main(words: Optional[List[str]] = None) -> int:
    """Carry out one verb; its exit code."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ['--answer'] and len(words) > 1:
        return _answer(words[1], words[2:])
    parsed = _parser().parse_args(words)
    try:
        _expect(parsed.expect)
        return VERBS[parsed.verb].run(parsed, lines.say)
    except lines.Refused as error:
        lines.say('refused', text=str(error))
        return 3
    except lines.Usage as error:
        lines.say('usage', text=str(error))
        return 2
    except (lines.AgentError, OSError) as error:
        lines.say('error', text=str(error))
        return 1
    except KeyboardInterrupt:
        lines.say('interrupted', text='type the same again to go on')
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python3 -m nova_recovery.host.agent', description=__doc__
    )
    parser.add_argument(
        '--answer',
        metavar='MARK',
        help='first of all words: answer in one line between marks',
    )
    parser.add_argument(
        '--expect',
        metavar='MACHINE_ID',
        help='refuse on any other machine than this',
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='what the layout shows wrongly',
    )
    parser.add_argument(
        '--home',
        default=runs.HOME,
        metavar='DIR',
        help='where the agent keeps what it remembers (%(default)s)',
    )
    verbs = parser.add_subparsers(metavar='VERB', dest='verb')
    verbs.required = True
    for name, verb in VERBS.items():
        # one without help is not shown
        shown = {'help': verb.HELP} if verb.HELP else {}
        verb.add_arguments(verbs.add_parser(name, **shown))
    return parser


def _expect(machine_id: Optional[str]) -> None:
    if machine_id is not None:
        found = identity.machine_id()
        if found != machine_id:
            raise lines.Refused(
                'another machine answers: its machine-id is {}, not {}'.format(
                    found, machine_id
                )
            )


def _answer(mark: str, words: List[str]) -> int:
    """One verb, for who reads through terminals, banners and sudo."""
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        with contextlib.redirect_stderr(complained):
            try:
                code = main(words)
            except SystemExit as end:
                # argparse; it may have been asked for --help
                code = int(end.code or 0)
                lines.say('usage', text=complained.getvalue())
            except Exception as error:
                # whoever asked can't see a traceback
                code = 1
                lines.say(
                    'error', text='{}: {}'.format(type(error).__name__, error)
                )
    sys.stdout.write(lines.marked(mark, code, printed.getvalue()))
    sys.stdout.flush()
    return code


if __name__ == '__main__':
    sys.exit(main())
