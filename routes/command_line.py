"""The commands `flask verify`, `acl`, `backfill`, `end-session` and `forget-rejected`."""

import sys
from collections.abc import Sequence

import click

from config import Settings, SettingsError
from database import Database, Unavailable
from ingest import ending
from ingest.ending import Target
from services import broker_access, rejected, rest_backfill, verification
from services.running_backend import server_url
from services.verification import Checks
from streams.registry import Streams
from utils import logger
from utils.log_lines import shown
from utils.mqtt_text import sendable


def commands(
    settings: Settings, streams: Streams, target: Target, checks: Sequence[Checks]
) -> list[click.Command]:
    """Return all commands.

    `target` receives the messages queued in an ended session; `checks` are those of integrations.
    """
    of_streams = [verify(settings, streams, checks), acl(settings, streams)]
    of_streams.append(backfill(streams, target.database))
    return [*of_streams, end_session(settings, streams, target), forget_rejected(target.database)]


def verify(settings: Settings, streams: Streams, checks: Sequence[Checks]) -> click.Command:
    """Return the command that checks a running backend from outside."""

    @click.command("verify", help="Check a running AutoForge, from the broker to its answers.")
    @click.option(
        "--url", default=f"http://127.0.0.1:{settings.flask_port}", callback=_url, show_default=True
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0.1, max=600),
        default=10.0,
        show_default=True,
        help="Seconds.",
    )
    def check(url: str, timeout: float) -> None:
        counts = {"ok": 0, "FAILED": 0, "left out": 0}
        for result in verification.run(settings, streams, url, timeout, checks):
            counts[result.outcome] += 1
            click.echo(f"{result.outcome:<8}  {result.check}: {result.detail}")
        click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        if counts["FAILED"]:
            sys.exit(1)

    return check


def backfill(streams: Streams, database: Database) -> click.Command:
    """Return the command that fills metrics from the fields that were kept before."""

    @click.command(
        "backfill",
        help="Fill the metrics of STREAM from the fields kept before they were declared.",
    )
    @click.argument("stream")
    def fill(stream: str) -> None:
        found = streams.get(stream)
        if found is None or not found.keeps_rest:
            names = ", ".join(one.name for one in streams if one.keeps_rest) or "none"
            expected = f'expected a stream with rest = "keep": {names}'
            raise click.ClickException(f"{stream}: no such stream; {expected}")
        try:
            filled = rest_backfill.fill(database, found)
        except Unavailable as error:
            raise click.ClickException(f"The database cannot be used: {error}") from error
        unread = f"; {filled.unread} values could not be read and are left" if filled.unread else ""
        click.echo(f"{filled.readings} readings of {stream} filled{unread}")

    return fill


def forget_rejected(database: Database) -> click.Command:
    """Return the command that empties the table of rejected messages."""

    @click.command(
        "forget-rejected",
        help="Delete all rejected messages but keep their counts. See /api/rejected first.",
    )
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


def _client_id(_: click.Context, __: click.Parameter, client_id: str) -> str:
    try:
        return sendable(client_id)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def end_session(settings: Settings, streams: Streams, target: Target) -> click.Command:
    """Return the command that drains and ends an abandoned session."""

    @click.command(
        "end-session", help="Store the messages queued in the session CLIENT_ID, and end it."
    )
    @click.argument("client_id", callback=_client_id)
    def command(client_id: str) -> None:
        logger.configure(settings.log_level, settings.log_file, "end-session")
        try:
            taken = ending.end_session(settings, streams, target, client_id)
        except (ending.EndError, Unavailable, SettingsError) as error:
            raise click.ClickException(str(error)) from error
        known, rejections = taken.duplicate, len(taken.rejections)
        counts = f"{taken.stored} stored, {known} already known, {rejections} set aside"
        click.echo(f"{taken.received} messages: {counts}. The session {shown(client_id)} is ended")

    return command


def acl(settings: Settings, streams: Streams) -> click.Command:
    """Return the command that prints the broker's access rules."""

    @click.command(
        "acl", help="Print the broker's access list for the declared streams, for Mosquitto."
    )
    @click.option(
        "--user",
        default=settings.broker.username or "autoforge",
        show_default=True,
        help="AutoForge's login.",
    )
    @click.option(
        "--dynamic-security",
        is_flag=True,
        help="Print commands for Mosquitto's dynamic security plugin instead.",
    )
    def command(user: str, *, dynamic_security: bool) -> None:
        kind = broker_access.dynamic_security if dynamic_security else broker_access.mosquitto
        click.echo(kind(streams, user, settings.catch_all_topic), nl=False)
        if names := broker_access.nameless(streams):
            listed = ", ".join(names)
            warning = f"Any device can publish for any other on the topics of {listed}"
            click.echo(f"{warning}: they contain no device id", err=True)

    return command
