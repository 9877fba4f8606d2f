# Sends requests as only few programs write them, one connection each, and prints all that comes back until the close.
import json, socket, ssl

HOST = "api.openai.com"


def request(first, *lines, body=""):
    return "\r\n".join([first, *lines, "connection: close", "authorization: Bearer k", "", body])


host = f"host: {HOST}"
chunked = "Transfer-Encoding: Chunked"
REQUESTS = [
    request("GET /v1/models HTTP/1.0", host),
    request("GET /v1/models HTTP/1.0"),
    request("GET /v1/models HTTP/1.1"),
    request("GET /v1/models HTTP/1.1", host).replace("\r\n", "\n"),
    "\r\n\r\n" + request("GET /echo HTTP/1.1", host),
    request("GET https://api.openai.com/v1/models HTTP/1.1", host),
    request("GET http://api.openai.com/v1/models HTTP/1.1", host),
    request("GET /v1/models HTTP/1.1", f"host: {HOST}:443"),
    request("GET /v1/models HTTP/1.1", "hOST:  API.OpenAI.com "),
    request("GET /v1/models HTTP/1.1", f"host: {HOST}."),
    request("GET /echo HTTP/1.1", host, "connection: keep-alive"),
    request("GET /echo HTTP/1.1", host, "TE: trailers", "Connection: TE"),
    request("GET /echo HTTP/1.1", host, "upgrade: foo/1"),
    request("GET /echo HTTP/1.1", host, "content-length: 2", body="hi"),
    request("HEAD /echo HTTP/1.1", host, "content-length: 2", body="hi"),
    request("DELETE /echo HTTP/1.1", host, "content-length: 2", body="hi"),
    request("POST /echo HTTP/1.1", host),
    request("POST /echo HTTP/1.1", host, "CONTENT-LENGTH: 0"),
    request("POST /echo HTTP/1.1", host, "expect: something", "content-length: 2", body="hi"),
    request("POST /echo HTTP/1.1", host, chunked, body='2;a=b;c="d e"\r\nhi\r\n00001\r\n!\r\n0;x\r\n\r\n'),
    request("POST /echo HTTP/1.1", host, "transfer-encoding: gzip, chunked", body="2\r\nhi\r\n0\r\n\r\n"),
    request("GET /a/../echo/./;v=1?x=%2F%2f&y=[1]|2{3}`^ HTTP/1.1", host),
    request("GET //echo?? HTTP/1.1", host),
    request("GET /echo?" + "q" * 60000 + " HTTP/1.1", host),
    request("OPTIONS * HTTP/1.1", host),
    request("CONNECT api.openai.com:443 HTTP/1.1", host),
    request("get /echo HTTP/1.1", host),
    # Three at once.
    f"GET /echo?1 HTTP/1.1\r\n{host}\r\n\r\nPOST /echo?2 HTTP/1.1\r\n{host}\r\ncontent-length: 2\r\n\r\nhi"
    + request("GET /echo?3 HTTP/1.1", host),
]

for text in REQUESTS:
    tls = ssl.create_default_context().wrap_socket(socket.create_connection((HOST, 443)), server_hostname=HOST)
    tls.sendall(text.encode())
    answer = b""
    while data := tls.recv(65536):
        answer += data
    print(json.dumps([text[:200], answer.decode("latin-1")]))
