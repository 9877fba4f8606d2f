# Connects to api.openai.com in the way that the argument names, asks for something, and prints what it was told.
import json, select, socket, ssl, sys

HOST = "api.openai.com"
V4 = socket.getaddrinfo(HOST, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
V6 = socket.getaddrinfo(HOST, 443, socket.AF_INET6, socket.SOCK_STREAM)[0][4]


def connected(family, address, before=lambda sock: None, protocol=0):
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    before(sock)
    sock.connect(address)
    return sock


def nonblocking(family, address):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    assert code == 115, code  # EINPROGRESS
    select.select([], [sock], [], 60)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    sock.setblocking(True)
    return sock


def datagrams_before(sock):
    # What getaddrinfo does to learn its source address; it must not disturb.
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect(V4)
    probe.close()


def device(sock):
    # The wire is the one interface beside the loopback.
    name = next(name for _, name in socket.if_nameindex() if name != "lo")
    sock.setsockopt(socket.SOL_SOCKET, 25, name.encode())  # SO_BINDTODEVICE


def retried(family, address):
    # A closed port first: the same socket is used again, as Happy Eyeballs libraries of old do.
    sock = socket.socket(family, socket.SOCK_STREAM)
    code = sock.connect_ex((address[0], 9))
    assert code != 0
    sock.connect(address)
    return sock


def fast_open(family, address):
    # The kernel connects and sends in one call; the first flight is TLS's own.
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    sock.connect(address)
    return sock


MAPPED = ("::ffff:" + V4[0], 443, 0, 0)
MPTCP = 262
WAYS = {
    "v4": lambda: connected(socket.AF_INET, V4),
    "v6": lambda: connected(socket.AF_INET6, V6),
    "mapped": lambda: connected(socket.AF_INET6, MAPPED),
    "nonblocking v4": lambda: nonblocking(socket.AF_INET, V4),
    "nonblocking v6": lambda: nonblocking(socket.AF_INET6, V6),
    "nonblocking mapped": lambda: nonblocking(socket.AF_INET6, MAPPED),
    "bound v4": lambda: connected(socket.AF_INET, V4, lambda sock: sock.bind(("198.51.100.2", 0))),
    "bound v6": lambda: connected(socket.AF_INET6, V6, lambda sock: sock.bind(("2001:db8:1::2", 0))),
    "after a datagram": lambda: connected(socket.AF_INET, V4, datagrams_before),
    "used again v4": lambda: retried(socket.AF_INET, V4),
    "fast open v4": lambda: fast_open(socket.AF_INET, V4),
    "fast open v6": lambda: fast_open(socket.AF_INET6, V6),
    "multipath v4": lambda: connected(socket.AF_INET, V4, protocol=MPTCP),
    "multipath v6": lambda: connected(socket.AF_INET6, V6, protocol=MPTCP),
    "device v4": lambda: connected(socket.AF_INET, V4, device),
}

for way, connect in WAYS.items():
    sock = connect()
    tls = ssl.create_default_context().wrap_socket(sock, server_hostname=HOST)
    issuer = dict(pair[0] for pair in tls.getpeercert()["issuer"])
    tls.sendall(b"GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer k\r\nconnection: close\r\n\r\n")
    answer = b""
    while data := tls.recv(65536):
        answer += data
    told = {"way": way, "peer": list(tls.getpeername()[:2]), "local": tls.getsockname()[0]}
    print(json.dumps(told | {"issuer": issuer.get("commonName", ""), "status": answer[9:12].decode()}))
