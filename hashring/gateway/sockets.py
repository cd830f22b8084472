"""How does our own server speak WebSocket?  By uvicorn on the protocol of ``websockets``.

Of uvicorn's three it is the one that keeps close codes, and stops reading while the host does not
take what was read.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class Sockets(WebSocketsSansIOProtocol):
    """As uvicorn's, which logs an error for each handshake that an application refuses."""

    async def send(self, message: Any) -> None:
        """Send one ASGI message."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal, and completely
