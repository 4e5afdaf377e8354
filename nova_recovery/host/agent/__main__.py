# SPDX-License-Identifier: Apache-2.0

"""``python3 -m nova_recovery.host.agent VERB ...``, by a person or a fleet."""

import argparse
import sys
from typing import List, Optional

from nova_recovery.host.agent import lines, owners

#: What can be asked. A verb is a module with ``HELP``,
#: ``add_arguments(parser)`` and ``run(parsed, say)``, which returns the exit
#: code; ``say(event, **fields)`` prints one line.
VERBS = {'owners': owners}


def main(words: Optional[List[str]] = None) -> int:
    """Carry out one verb; its exit code."""
    parser = argparse.ArgumentParser(
        prog='python3 -m nova_recovery.host.agent', description=__doc__
    )
    verbs = parser.add_subparsers(metavar='VERB', dest='verb')
    verbs.required = True
    for name, verb in VERBS.items():
        verb.add_arguments(verbs.add_parser(name, help=verb.HELP))
    parsed = parser.parse_args(words)
    try:
        return VERBS[parsed.verb].run(parsed, lines.say)
    except lines.Refused as error:
        lines.say('refused', text=str(error))
        return 3
    except (lines.AgentError, OSError) as error:
        lines.say('error', text=str(error))
        return 1
    except KeyboardInterrupt:
        lines.say('interrupted', text='type the same again to go on')
        return 130


if __name__ == '__main__':
    sys.exit(main())
