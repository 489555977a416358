"""A web application as many are: Flask behind gunicorn, SQLite below /data, temporary files."""

import hashlib
import os
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, request

app = Flask(__name__)


@app.get("/work")
def work():
    def digest(seed):
        with tempfile.TemporaryFile() as file:
            file.write(os.urandom(1 << 16))
            file.seek(0)
            return len(hashlib.sha256(file.read() + bytes([seed])).hexdigest())

    with ThreadPoolExecutor(4) as pool:
        return f"work {sum(pool.map(digest, range(8))) == 512}"


@app.get("/store")
def store():
    with sqlite3.connect("/data/kept.db") as base:
        base.execute("create table if not exists kept(text)")
        base.execute("insert into kept values (?)", (request.query_string.decode(),))
        (text,) = base.execute("select text from kept order by rowid desc").fetchone()
    return f"kept {text}"
