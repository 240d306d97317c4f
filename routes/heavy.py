"""Requests that read many rows wait for a turn and keep it until their answer is serialized."""

from flask import Flask, current_app, g

from services.heavy import HEAVY_ROWS, Turns

_TURNS = "heavy"


def register(app: Flask, most: int) -> None:
    """Limit how many heavy requests the application runs at a time."""
    turns = app.extensions[_TURNS] = Turns(most)

    @app.teardown_request
    def give_back(_: BaseException | None) -> None:
        # At the end of the request, because serializing 100,000 samples takes as long as reading
        # them; but before the answer is sent, so that a slow client does not hold up others
        # (serving/answer_socket.py limits what it buffers).
        if g.pop(_TURNS, False):
            turns.give_back()


def take_turn(rows: int = HEAVY_ROWS + 1) -> None:
    """Wait for a turn if the request reads many rows; others are not delayed. Raises Busy."""
    if rows <= HEAVY_ROWS or g.get(_TURNS, False):
        return
    turns: Turns = current_app.extensions[_TURNS]
    turns.take()
    g.heavy = True
