"""`flask verify` and `flask forget-rejected`: the command line beside the web."""

import sys

import click

from config import Settings
from database import Database, Unavailable
from services import rejected, verification
from services.running_backend import server_url
from streams.declaration import Streams


def verify(settings: Settings, streams: Streams) -> click.Command:
    """The command that checks a running backend from outside."""

    @click.command("verify", help="Check a running AutoForge, from the broker to what it serves.")
    @click.option("--url", default=f"http://127.0.0.1:{settings.flask_port}", callback=_url, show_default=True)
    @click.option(
        "--timeout", type=click.FloatRange(min=0.1, max=600), default=10.0, show_default=True, help="Seconds."
    )
    def check(url: str, timeout: float) -> None:
        counts = {"ok": 0, "FAILED": 0, "left out": 0}
        for result in verification.run(settings, streams, url, timeout):
            counts[result.outcome] += 1
            click.echo(f"{result.outcome:<8}  {result.check}: {result.detail}")
        click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        if counts["FAILED"]:
            sys.exit(1)

    return check


def forget_rejected(database: Database) -> click.Command:
    """The command that empties the table of rejected messages."""

    @click.command("forget-rejected", help="Delete all rejected messages, whose counts stay. See /api/rejected first.")
    @click.confirmation_option(prompt="Delete all rejected messages?")
    def forget() -> None:
        try:
            click.echo(f"{rejected.forget(database)} rejected messages deleted")
        except Unavailable as error:
            raise click.ClickException(f"The database cannot be used: {error}") from error

    return forget


def _url(_: click.Context, __: click.Parameter, url: str) -> str:
    try:
        return server_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
