# SPDX-License-Identifier: Apache-2.0

"""The journal: the durable record of every run, step and item."""

from nova_recovery.engine.journal.store import Journal
from nova_recovery.engine.journal.writer import Writer
from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord

__all__ = ['EventRecord', 'ItemRecord', 'Journal', 'RunRecord', 'Writer']
