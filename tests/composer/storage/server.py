"""An S3 server over a folder, for tests: `python server.py FOLDER PORT [SECONDS]`; it may be killed.

As much of S3 as the clients here use: listings, whole objects and ranges, puts with If-None-Match,
removals, uploads in parts. Nobody is asked who they are. FOLDER/requests.log has a line a request; each
waits SECONDS first. FOLDER/damage may have an ending of keys, whose objects get a bit flipped when they
come. An object is a file: its ETag in 40 bytes, then its content, under its key in one name.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

HEAD = 40
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    delay = 0.0

    def handle_one(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        body = self.body()
        with (self.root / "requests.log").open("a") as log:
            log.write(f"{self.command} {self.path} {self.headers.get('Range', '')}\n")
        time.sleep(self.delay)
        try:
            action = getattr(self, f"{self.command.lower()}_{'object' if key else 'bucket'}")
            action(self.root / bucket, key, query, body)
        except RefusedError as error:
            text = f"<Error><Code>{error.code}</Code><Message>{error.code}</Message></Error>"
            self.answer(error.status, b"" if self.command == "HEAD" else text.encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815 -- their names in http.server

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        whole = b""
        while data:
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            whole, data = whole + data[:size], data[size + 2 :]
        return whole

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def xml(self, name: str, inner: str) -> None:
        self.answer(200, f"<{name}>{inner}</{name}>".encode(), Content_Type="application/xml")

    def log_message(self, *_words: object) -> None:
        pass

    # ---- objects ---------------------------------------------------------------------------------------

    def get_object(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        path = file_of(bucket, key)
        if not path.is_file():
            raise RefusedError(404, "NoSuchKey")
        with path.open("rb") as stream:
            tag, size = stream.read(HEAD).decode().strip(), path.stat().st_size - HEAD
            start, stop, status, more = 0, size, 200, {}
            if wanted := self.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                start = int(first) if first else size - int(last)
                stop = min(size, int(last) + 1) if first and last else size
                if start >= size:
                    raise RefusedError(416, "InvalidRange")
                status, more = 206, {"Content_Range": f"bytes {start}-{stop - 1}/{size}"}
            self.send_response(status)
            headers = {"Content_Length": str(stop - start), "ETag": f'"{tag}"', "Last_Modified": DATE}
            headers |= {"Accept_Ranges": "bytes", "Content_Type": "binary/octet-stream", **more}
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                stream.seek(HEAD + start)
                if stop - start == size:
                    shutil.copyfileobj(stream, self.wfile, 2**20)
                else:
                    self.wfile.write(stream.read(stop - start))

    head_object = get_object

    def put_object(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        if "partNumber" in query:
            path = bucket.parent / ".parts" / f"{query['uploadId']}.{int(query['partNumber']):05}"
            if not path.with_suffix(".key").exists():
                raise RefusedError(404, "NoSuchUpload")
            write(path, body, hashlib.md5(body).hexdigest())
            self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
            return
        if self.headers.get("If-None-Match") == "*" and file_of(bucket, key).exists():
            raise RefusedError(412, "PreconditionFailed")
        damage = bucket.parent / "damage"
        if damage.exists() and key.endswith(damage.read_text()):
            body = body[:-1] + bytes([body[-1] ^ 1])
        tag = hashlib.md5(body).hexdigest()
        write(file_of(bucket, key), body, tag)
        self.answer(200, ETag=f'"{tag}"')

    def post_object(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        parts = bucket.parent / ".parts"
        if "uploads" in query:
            number = uuid.uuid4().hex
            parts.mkdir(exist_ok=True)
            (parts / f"{number}.key").write_text(f"{bucket.name}/{key}")
            self.xml("InitiateMultipartUploadResult", f"<UploadId>{number}</UploadId>")
            return
        found = sorted(parts.glob(f"{query['uploadId']}.[0-9]*"))
        contents = [path.read_bytes()[HEAD:] for path in found]
        digest = hashlib.md5(b"".join(hashlib.md5(each).digest() for each in contents)).hexdigest()
        write(file_of(bucket, key), b"".join(contents), f"{digest}-{len(contents)}")
        for path in parts.glob(f"{query['uploadId']}.*"):
            path.unlink()
        self.xml("CompleteMultipartUploadResult", f"<ETag>&quot;{digest}-{len(contents)}&quot;</ETag>")

    def delete_object(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            for path in (bucket.parent / ".parts").glob(f"{query['uploadId']}.*"):
                path.unlink()
        else:
            file_of(bucket, key).unlink(missing_ok=True)
        self.answer(204)

    # ---- buckets ---------------------------------------------------------------------------------------

    def get_bucket(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        prefix = query.get("prefix", "")
        if "uploads" in query:
            pending = [(path.stem, path.read_text()) for path in (bucket.parent / ".parts").glob("*.key")]
            own = [(number, name.partition("/")[2]) for number, name in pending]
            rows = [
                f"<Upload><Key>{escape(name)}</Key><UploadId>{number}</UploadId></Upload>"
                for number, name in own
                if name.startswith(prefix)
            ]
            self.xml("ListMultipartUploadsResult", "".join(rows))
            return
        names = sorted(unquote(path.name) for path in bucket.iterdir() if not path.name.startswith("."))
        delimiter, after = query.get("delimiter", ""), query.get("continuation-token", "")
        rows, folders = [], set()
        for name in names:
            rest = name[len(prefix) :]
            if not name.startswith(prefix) or name <= after:
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                rows.append(name)
        cut = rows[1000:]
        last = f"<NextContinuationToken>{escape(rows[999])}</NextContinuationToken>" if cut else ""
        inner = f"<IsTruncated>{str(bool(cut)).lower()}</IsTruncated>{last}"
        inner += "".join(entry(bucket, name) for name in rows[:1000])
        inner += "".join(
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(folders)
        )
        self.xml("ListBucketResult", inner)

    def head_bucket(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        self.answer(200)

    def post_bucket(self, bucket: Path, key: str, query: dict[str, str], body: bytes) -> None:
        for each in ElementTree.fromstring(body).iter():
            if each.tag.endswith("Key"):
                file_of(bucket, each.text or "").unlink(missing_ok=True)
        self.xml("DeleteResult", "")


def entry(bucket: Path, name: str) -> str:
    path = file_of(bucket, name)
    with path.open("rb") as stream:
        tag = stream.read(HEAD).decode().strip()
    return (
        f"<Contents><Key>{escape(name)}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{tag}&quot;</ETag><Size>{path.stat().st_size - HEAD}</Size></Contents>"
    )


def file_of(bucket: Path, key: str) -> Path:
    return bucket / quote(key, safe="")


def write(path: Path, body: bytes, tag: str) -> None:
    part = path.parent / f".{uuid.uuid4().hex}"
    part.write_bytes(tag.ljust(HEAD).encode() + body)
    part.replace(path)


if __name__ == "__main__":
    Handler.root = Path(sys.argv[1])
    Handler.delay = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
