"""Sends sessions to the database that the request names."""


class ToTheDatabaseOfTheRequest:
    database = "default"

    def db_for_read(self, model, **hints):
        return self.database

    def db_for_write(self, model, **hints):
        return self.database
