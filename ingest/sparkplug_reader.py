"""Reading of Sparkplug: the metrics of a message by the names of its birth certificate."""

from broker.message import Message
from ingest.certificates import Certificates, SparkplugSender
from ingest.formats import sparkplug
from ingest.formats.sparkplug import NO_CERTIFICATE, Certificate, SparkplugPayload
from ingest.unpacking import inflated
from ingest.untyped import Found, UntypedReader
from ingest.values import PayloadError
from streams.stream import Stream


class SparkplugReader:
    """Reads the messages of a stream; births teach the certificates what later messages mean."""

    def __init__(self, stream: Stream, certificates: Certificates) -> None:
        self._unpack = stream.shape.unpack
        self._untyped = UntypedReader(stream)
        self._certificates = certificates

    def read(self, message: Message) -> Found:
        """Read a message. Raises PayloadError, NotConcerned."""
        sender = SparkplugSender.of(message.topic)
        birth = sender if sender is not None and sender.is_birth else None
        try:
            payload = sparkplug.read(inflated(message.payload, self._unpack))
        except PayloadError:
            if birth is not None and message.payload:
                # The aliases may have changed, and a wrong name is worse than none.
                self._certificates.learn(birth, message, NO_CERTIFICATE)
            raise
        if birth is None:
            certificate = self._certificates.of(sender, message)
        else:
            certificate = self._learned(birth, message, payload)
        return self._untyped.read_document(sparkplug.document(payload, certificate))

    def _learned(
        self, sender: SparkplugSender, message: Message, payload: SparkplugPayload
    ) -> Certificate:
        certificate = Certificate.of(payload)
        self._certificates.learn(sender, message, certificate)
        return certificate
