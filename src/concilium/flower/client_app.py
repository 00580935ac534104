"""A hospital's client app: hands a letter's bytes to the resident worker, and brings its answer.

It imports neither torch nor what computes, and never raises: of what goes wrong one of the codes in
``line.CODES`` leaves the hospital. ``app`` is for a SuperNode that is run the usual way; with our
own ``executor`` the same function is called in a process that is there already.
"""

from __future__ import annotations

import os
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from concilium.flower.line import CODES, SITE, LineError, Resident

RECORD, LETTER, REFUSED = "concilium", "letter", "refused"
"""The one record of a message; in it the letter's bytes, or the code of why there are none."""

HOSPITAL, MADE_BY = "CONCILIUM_HOSPITAL", "CONCILIUM_SITE"
"""Environment variables: the hospital's folder; who answers, if not ``line.SITE``."""

app = ClientApp()


@app.query()
def answer(message: Message, context: Context) -> Message:
    """Answer with the worker of the folder in the environment."""
    folder = Path(os.environ.get(HOSPITAL, "."))
    resident = Resident(folder, os.environ.get(MADE_BY, SITE), os.getppid())
    return reply(message, resident)


def reply(message: Message, resident: Resident) -> Message:
    """The reply to a message: the worker's answer, or the code of what went wrong."""
    content: ConfigRecord
    try:
        content = ConfigRecord({LETTER: resident.ask(letter_of(message), message.metadata.ttl)})
    except LineError as error:
        content = ConfigRecord({REFUSED: str(error)})
    except Exception:  # nothing of it may leave
        content = ConfigRecord({REFUSED: "worker_failed"})
    return Message(RecordDict({RECORD: content}), reply_to=message)


def letter_of(message: Message) -> bytes:
    """The letter in a message. Raises LineError for a message without one, or with a code."""
    if not message.has_content() or RECORD not in message.content:
        raise LineError("unreadable")
    record = message.content[RECORD]
    if not isinstance(record, ConfigRecord):
        raise LineError("unreadable")
    letter = record.get(LETTER)
    if isinstance(letter, bytes):
        return letter
    code = record.get(REFUSED)
    raise LineError(code if isinstance(code, str) and code in CODES else "unreadable")
