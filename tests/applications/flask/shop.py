"""A shop on Flask-Session's store for SQLAlchemy: shop.py PORT. The environment has DATABASE."""

import os
import sys

from flask import Flask, redirect, request, session
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy
from waitress import serve

app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ["DATABASE"].replace("postgres://", "postgresql+psycopg://", 1),
    SESSION_COOKIE_NAME="sessionid",
    SESSION_TYPE="sqlalchemy",
    #: Ended sessions are deleted about once in so many requests.
    SESSION_CLEANUP_N_REQUESTS=50,
)
app.config["SESSION_SQLALCHEMY"] = SQLAlchemy(app)
Session(app)


@app.get("/")
def basket():
    items = "\n".join(f"<li>{item}</li>" for item in session.get("basket", []))
    return f"<h1>Basket of {session.get('user', 'a visitor')}</h1><ul>{items}</ul>"


@app.post("/")
def add():
    session["basket"] = [*session.get("basket", []), request.form["item"]]
    return redirect("/")


@app.get("/login/")
def ask():
    return "<h1>Log in</h1>"


@app.post("/login/")
def log_in():
    """The session gets another key, which takes the basket along."""
    app.session_interface.regenerate(session)
    session["user"] = request.form["username"]
    return redirect("/")


@app.post("/logout/")
def log_out():
    session.clear()
    return redirect("/")


serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=8)
