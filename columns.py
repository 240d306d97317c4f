"""Column types that mean the same in every kind of database."""

from typing import Any

from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import DateTime

Timestamp = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""Naive UTC with microseconds."""
Identifier = BigInteger().with_variant(Integer, "sqlite")
Bytes = LargeBinary().with_variant(mysql.MEDIUMBLOB, "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
MYSQL_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
"""Keyword arguments of a table; texts are compared byte by byte, as the other databases do."""
