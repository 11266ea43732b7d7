"""Looks at the session table by the database's driver alone, without Django's conversions."""

import contextlib
import sqlite3

ROWS = {
    # The storage class too: a time that is a number would be another value.
    "sqlite3": "SELECT session_key, session_data, expire_date, typeof(expire_date) FROM django_session",
    "postgresql": "SELECT session_key, session_data, CAST(expire_date AS text) FROM django_session",
    "mysql": "SELECT session_key, session_data, CAST(expire_date AS char) FROM django_session",
}
SCHEMA = {
    "sqlite3": ["SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'django_session' ORDER BY name"],
    "postgresql": [
        "SELECT attnum, attname, format_type(atttypid, atttypmod), attnotnull, attcollation, attstorage, atthasdef "
        "FROM pg_attribute WHERE attrelid = 'django_session'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'django_session' ORDER BY indexname",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'django_session'::regclass ORDER BY conname",
    ],
    "mysql": ["SHOW CREATE TABLE django_session"],
}


def kind(database):
    return database["ENGINE"].rpartition(".")[2]


def connect(database):
    if kind(database) == "sqlite3":
        return sqlite3.connect(database["NAME"], isolation_level=None)
    place = {"host": database["HOST"], "port": int(database["PORT"]), "user": database["USER"]}
    # Imported where they are needed: the start of a peer is most of what a test costs.
    if kind(database) == "postgresql":
        import psycopg

        return psycopg.connect(dbname=database["NAME"], autocommit=True, options="-c TimeZone=UTC", **place)
    import pymysql

    return pymysql.connect(database=database["NAME"], autocommit=True, charset="utf8mb4", **place)


def execute(database, sql):
    with contextlib.closing(connect(database)) as connection, contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        return [list(row) for row in cursor.fetchall()] if cursor.description else []


def rows(database):
    # Sorted here: each database has an order of its own for texts.
    return sorted(execute(database, ROWS[kind(database)]))


def schema(database):
    return [row for sql in SCHEMA[kind(database)] for row in execute(database, sql)]
