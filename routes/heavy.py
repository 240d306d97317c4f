"""Requests that read many rows wait for their turn, and keep it until their answer is made."""

from flask import Flask, current_app, g

from services.heavy import HEAVY_ROWS, Turns

_TURNS = "heavy"


def register(app: Flask, most: int) -> None:
    """Let at most so many such requests of an application run at a time."""
    turns = app.extensions[_TURNS] = Turns(most)

    @app.teardown_request
    def give_back(_: BaseException | None) -> None:
        # Only now, because turning 100,000 samples into JSON takes as long as reading them. Before the answer is sent:
        # a client that reads it slowly must not hold up other questions (utils/answer_socket.py limits what it holds).
        if g.pop(_TURNS, False):
            turns.give_back()


def take_turn(rows: int = HEAVY_ROWS + 1) -> None:
    """Have this request wait for its turn, if it reads so many rows; others are not held up. Raises Busy."""
    if rows <= HEAVY_ROWS or g.get(_TURNS, False):
        return
    turns: Turns = current_app.extensions[_TURNS]
    turns.take()
    g.heavy = True
