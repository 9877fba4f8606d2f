"""What the clients print. Standard output: all that the provider answered, to be compared byte for byte between two runs.
Standard error: the other end of the connection, which the test looks at by itself."""

import json
import sys

# These belong to one hop (RFC 9110 § 7.6.1), so two ways to the provider may differ in them.
HOP = {"connection", "keep-alive", "transfer-encoding"}


def case(name):
    print(f"== {name}", flush=True)


def data(value):
    """A value that an SDK made of an answer, unknown fields included."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def raw(response):
    """The answer as it came: status, headers in their order, body."""
    print(response.status_code)
    for name, value in response.headers.multi_items():
        if name.lower() not in HOP:
            print(f"{name}: {value}")
    print(response.content.decode(), flush=True)


def other_end(response):
    """What getpeername() says of the connection that an answer came over, and who issued the other end's certificate."""
    stream = response.extensions["network_stream"]
    end(stream.get_extra_info("server_addr"), stream.get_extra_info("ssl_object"))


def socket(tls):
    """The same of a TLS socket."""
    end(tls.getpeername(), tls)


def end(address, tls):
    print("peer", *address[:2], file=sys.stderr)
    issuer = dict(pair for (pair,) in tls.getpeercert()["issuer"])
    print("issuer", issuer["commonName"], file=sys.stderr)


def refusal(error):
    """The exception that an SDK raised."""
    print(type(error).__name__, error, flush=True)
