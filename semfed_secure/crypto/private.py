"""What holds secret bytes: it does not show, copy, or pickle them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NoReturn, SupportsIndex

if TYPE_CHECKING:
    from semfed_secure.ids import KeyId


class Undisclosed:
    """Base of everything that holds secret bytes.

    They cannot reach a log, a pickle, a traceback with locals or a copy by accident: ``repr`` shows the type,
    pickling and copying raise, and there is no ``__dict__`` to walk. They are not protected from a debugger or from
    a reader of this process's memory; Python cannot promise to erase them.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """The type, and nothing of the content."""
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        """Refuse pickling and copying.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"a {type(self).__name__} is neither pickled nor copied")


class Secret(Undisclosed):
    """Bytes behind `reveal`, which is the one way to them."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        """Hide ``content``."""
        self._content = content

    def reveal(self) -> bytes:
        """The content."""
        return self._content


class PrivateKey(Undisclosed, ABC):
    """Base of the keys that key files keep."""

    __slots__ = ()

    @property
    @abstractmethod
    def key_id(self) -> KeyId:
        """The id of the public half."""

    @abstractmethod
    def export_secret(self) -> bytes:
        """The raw seeds, for `semfed_secure.crypto.key_files` only: whoever holds them is the member."""

    def __repr__(self) -> str:
        """The public key id, never the material."""
        try:
            return f"<{type(self).__name__} {self.key_id}>"
        except AttributeError:  # not made yet: a report of what failed in the constructor prints it
            return super().__repr__()
