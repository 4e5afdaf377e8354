# SPDX-License-Identifier: Apache-2.0

"""How a command of nova-recovery ends, in numbers.

cliff itself fixes 1 (an error), 2 (usage) and 130 (Ctrl-C); the others are
ours and mean the same for every command.
"""

from __future__ import annotations

DONE = 0
ERROR = 1
USAGE = 2
#: A gate refused; nothing was changed.
REFUSED = 3
#: Some items failed, or it is in doubt whether they were carried out; or the
#: run paused by itself.
PARTLY = 4
#: Stopped by Ctrl-C or SIGHUP between two items; ``run resume`` goes on.
INTERRUPTED = 130
