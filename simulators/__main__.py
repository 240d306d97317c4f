"""`python -m simulators`: publish to a declared stream as its devices would."""

import argparse
import math
import secrets
import sys
from urllib.parse import urlsplit

from config import Settings, SettingsError, load_settings
from simulators.backend import BackendClient
from simulators.device import devices
from simulators.fleet import BrokerError, Fleet
from simulators.progress import Progress
from simulators.resume import resume
from simulators.run import Run
from streams.checks import StreamError
from streams.declaration import declared
from streams.stream import Stream
from utils import clock
from utils.signals import ending, ignore

_FAILED = 1
_UNUSABLE = 2
_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; exit code 0 if every reading was delivered, 2 if it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        stream = _declared(settings, options.stream)
        progress = Progress(stream.name)
        fleet = _fleet(options, settings, stream, progress)
        fleet.connect()
    except (SettingsError, StreamError, BrokerError) as error:
        print(error, file=sys.stderr)
        return _UNUSABLE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _publish(Run(fleet, progress, options.count))


def _fleet(
    options: argparse.Namespace, settings: Settings, stream: Stream, progress: Progress
) -> Fleet:
    seed = secrets.randbits(32) if options.seed is None else options.seed
    rate = options.devices / stream.simulate.interval if options.rate is None else options.rate
    backend = BackendClient(options.url or f"http://127.0.0.1:{settings.flask_port}")
    made = devices(stream, options.devices, seed, options.invalid)
    if stream.simulate.resume:
        resume(stream, made, backend, progress.note)
    return Fleet(settings, made, rate, backend, progress.note)


def _publish(run: Run) -> int:
    run.until(ending().is_set)
    run.fleet.close()
    tally = run.fleet.tally
    print(tally.summary())
    ignore()
    return 0 if tally.complete else _FAILED


def _declared(settings: Settings, name: str) -> Stream:
    streams = declared(settings)
    stream = streams.get(name)
    if stream is None:
        names = ", ".join(sorted(each.name for each in streams))
        raise StreamError(
            f"--stream {name}: no such stream is declared in {settings.streams_dir}; "
            f"declared are: {names}"
        )
    if not stream.metrics:
        raise StreamError(f"--stream {name}: it declares no metrics to simulate")
    try:
        devices(stream, count=1, seed=0)[0].next(clock.now(), invalid=False)
    except ValueError as error:
        reason = f"its payloads cannot be written: {error}"
        raise StreamError(f"--stream {name}: {reason}") from error
    return stream


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument(
        "--stream", default="sensors", metavar="NAME", help="a declared stream (default: sensors)"
    )
    parser.add_argument(
        "--devices", type=_whole, default=3, metavar="N", help="how many devices (default: 3)"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="R",
        help="messages per second in total; 0: no limit (default: as the stream declares)",
    )
    parser.add_argument(
        "--count", type=_whole, metavar="N", help="messages in total (default: until Ctrl-C)"
    )
    parser.add_argument(
        "--invalid", type=_share, default=0.0, metavar="1%", help="share of broken messages"
    )
    parser.add_argument(
        "--url",
        type=_url,
        help="the backend, used while the broker is away (default: on this machine)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="the same seed creates the same values at the same times",
    )
    return parser


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 1")
    return int(text)


def _rate(text: str) -> float:
    rate = _number(text)
    if not 0 <= rate < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text}: must be a number of messages per second, or 0 for no limit"
        )
    return rate


def _share(text: str) -> float:
    share = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a share such as 1% or 0.01")
    return share


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(
            f"{text}: must be the backend's address, such as http://127.0.0.1:5000"
        )
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


if __name__ == "__main__":
    sys.exit(main())
