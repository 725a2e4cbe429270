"""Messages that travel in the bytes of another system, so that its programs read and write them."""

from typing import ClassVar, Self

from .base import Message

__all__ = ["ForeignMessage"]


class ForeignMessage(Message, kw_only=True):
    """
    A message with a layout of its own; the endpoint's message type says which.

    It is not in the closed list of types that are found by name in a payload: such bytes carry no name of
    ours. It has no stamp either, so that its endpoints deliver plainly. ``metadata`` stays here.
    """

    msg_type: ClassVar[str] = "foreign_message"
    is_foreign: ClassVar[bool] = True
    content_type: ClassVar[str] = "application/octet-stream"
    """The media type of its bytes."""

    def write_payload(self) -> bytes:
        """
        Write the bytes that the other system reads.

        Raises:
            InvalidMessage: If a field cannot be written.
        """
        raise NotImplementedError

    @classmethod
    def read_payload(cls, payload: bytes) -> Self:
        """
        Read the bytes of the other system.

        Raises:
            DecodeError: If they are not such a message.
            TooLarge: If they exceed a limit.
        """
        raise NotImplementedError
