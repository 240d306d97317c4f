"""Who reads: everything that a SELECT can be asked of."""

from sqlalchemy import Connection
from sqlalchemy.orm import Session

Reader = Connection | Session
