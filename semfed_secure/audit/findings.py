"""What was done to a log: one code and one sentence for each way of tampering, for a reader who must act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from semfed_secure.audit.events import EventType


def _entries(first: int, last: int) -> str:
    return f"entry {first}" if first >= last else f"entries {first} to {last}"


def _were(first: int, last: int) -> str:
    return "was" if first >= last else "were"


def changed(first: int, last: int, why: str) -> IntegrityError:
    """``SF501``: entries are not what was written."""
    message = f"{_entries(first, last)} {_were(first, last)} changed: {why}"
    return IntegrityError("SF501", message, index=first)


def not_signed(first: int, last: int) -> IntegrityError:
    """``SF501``: entries and everything computed from them were exchanged, but nobody signed that."""
    message = f"{_entries(first, last)} {_were(first, last)} changed: they are not the ones that were signed"
    return IntegrityError("SF501", message, index=first)


def foreign(index: int) -> IntegrityError:
    """``SF501``: an entry is not one that this software writes."""
    message = f"entry {index} is not one that this software writes: its content was replaced"
    return IntegrityError("SF501", message, index=index)


def dropped(first: int, last: int, size: int) -> IntegrityError:
    """``SF508``: entries were taken out of the middle."""
    verb = "is" if first >= last else "are"
    message = f"{_entries(first, last)} {verb} missing, and later ones are here: a signed checkpoint covers {size}"
    return IntegrityError("SF508", message, index=first)


def moved_up(index: int, seq: int) -> IntegrityError:
    """``SF508``: an entry was taken out, and later ones were given its place."""
    message = f"entry {index} is missing, and what was written as entry {seq} stands in its place"
    return IntegrityError("SF508", message, index=index)


def swapped(index: int, seq: int) -> IntegrityError:
    """``SF509``: entries changed places."""
    message = f"entry {index} is in the wrong place: it was written as entry {seq}, and entry {index} stands elsewhere"
    return IntegrityError("SF509", message, index=index)


def repeated(index: int, seq: int) -> IntegrityError:
    """``SF510``: an entry stands twice."""
    message = f"entry {index} is a copy of entry {seq}, which stands in the log twice"
    return IntegrityError("SF510", message, index=index)


def cut_off(first: int, size: int) -> IntegrityError:
    """``SF512``: the end of the log is gone, but not the signature over it."""
    verb = "is" if first >= size - 1 else "are"
    message = f"{_entries(first, size - 1)} {verb} missing at the end: a signed checkpoint covers {size} entries"
    return IntegrityError("SF512", message, index=first)


def derived(what: str, **fields: int) -> IntegrityError:
    """``SF513``: something that is computed from the entries was changed; the entries are as they were signed."""
    return IntegrityError("SF513", f"{what}; the entries themselves are as they were signed", **fields)


def derived_of(first: int, last: int) -> IntegrityError:
    """``SF513``, of the fingerprint of these entries."""
    return derived(f"the stored fingerprint of {_entries(first, last)} was changed or removed", index=first)


def unsigned(index: int) -> IntegrityError:
    """``SF514``: something was added behind the newest signature."""
    message = f"entry {index} was added without a signature: the newest checkpoint ends before it"
    return IntegrityError("SF514", message, index=index)


def set_back(largest: int, size: int) -> IntegrityError:
    """``SF504``: the log is whole, but shorter than it once was."""
    message = (
        f"the log was set back: a signed checkpoint of {largest} entries exists, but only {size} are here; "
        "an older copy was restored, or the last entries were removed"
    )
    return IntegrityError("SF504", message, index=size)


def forked(size: int, **fields: int) -> IntegrityError:
    """``SF505``: the log's key signed two histories."""
    message = f"the log was forked: two different histories of its first {size} entries were signed"
    return IntegrityError("SF505", message, size=size, **fields)


def told_twice(index: int, kind: EventType, round_id: str | None) -> IntegrityError:
    """``SF506``: one round has two openings, lists or results."""
    message = f"entry {index} is a second {kind} of {round_id}: what members were shown may differ"
    return IntegrityError("SF506", message, index=index)


def bad_signature(what: str) -> IntegrityError:
    """``SF503``: a checkpoint is not what the log's key signed."""
    message = f"the signature of {what} is not good: it was changed, or somebody else made it"
    return IntegrityError("SF503", message)


def not_vouched(reached: int, size: int, quorum: int) -> IntegrityError:
    """``SF515``: the log's own key signed it, but the witnesses did not, or not lately."""
    message = (
        f"{quorum} witnesses vouch for the first {reached} of {size} entries: the others rest on the log's own key "
        "alone, and whoever stole it could have written them"
    )
    return IntegrityError("SF515", message, size=reached, index=reached)


def removed_checkpoints(reached: int, size: int) -> IntegrityError:
    """``SF516``: checkpoints that this software keeps are gone."""
    message = f"the post-quantum signature ends at {reached} of {size} entries: checkpoints were removed"
    return IntegrityError("SF516", message, size=reached)


def exchanged_checkpoint(size: int) -> IntegrityError:
    """``SF517``: a good checkpoint stands where another one was."""
    message = f"the checkpoint kept at {size} entries was exchanged for another one that the log once signed"
    return IntegrityError("SF517", message, size=size)


def missing_file(name: str) -> IntegrityError:
    """``SF518``: a file of an export is gone."""
    return IntegrityError("SF518", f"the file {name} is missing from the export", file=name)


def damaged_file(name: str, items: int, index: int) -> IntegrityError:
    """``SF518``: a file of an export has not the length or the shape that it was written with."""
    message = f"the file {name} was cut or changed: it should hold {items} items"
    return IntegrityError("SF518", message, file=name, index=index)


def removed_silently(first: int, last: int, covered: str) -> IntegrityError:
    """``SF523``: the content of entries is gone, and no entry says that it was removed."""
    message = f"the content of {_entries(first, last)} is missing, {covered}"
    return IntegrityError("SF523", message, index=first)


def false_tombstone(index: int, why: str) -> IntegrityError:
    """``SF524``: what an entry says of a removal does not fit the log."""
    return IntegrityError("SF524", f"entry {index}, about content that was removed, does not hold: {why}", index=index)
