# A WebSocket client of our own (RFC 6455, RFC 7692), which does what the JSON on standard input says and tells, as JSON, what came.
# Its masks are drawn from a seed, so that two runs send the same bytes.
import hashlib, json, os, random, socket, ssl, struct, sys, zlib

HOST = "api.openai.com"
plan = json.load(sys.stdin)
masks = random.Random(plan["path"])
sent, received = hashlib.sha256(), hashlib.sha256()
counts = [0, 0]


def connect():
    tls = ssl.create_default_context().wrap_socket(socket.create_connection((HOST, 443)), server_hostname=HOST)
    fields = ["Host: " + HOST, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    fields += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Authorization: Bearer sk-secret-of-the-caller"]
    if plan.get("extensions"):
        fields.append("Sec-WebSocket-Extensions: " + plan["extensions"])
    if plan.get("faults"):
        fields.append("x-provider-fault: " + plan["faults"])
    tls.sendall("\r\n".join([f"GET {plan['path']} HTTP/1.1", *fields, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = tls.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head
    lines = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    assert lines["sec-websocket-accept"] == "s3pplmbitxaq9kygzzhzrbk+xoo=", head
    return tls, lines.get("sec-websocket-extensions", "")


tls, agreed = connect()
deflates = "permessage-deflate" in agreed
bits = int(agreed.split("client_max_window_bits=")[1].split(";")[0]) if "client_max_window_bits=" in agreed else 15
compressor = lambda: zlib.compressobj(wbits=-bits)
deflate, inflate = compressor(), zlib.decompressobj(wbits=-15)


def write(first, payload):
    mask = masks.randbytes(4)
    length = len(payload)
    head = [length] if length < 126 else [126] if length < 65536 else [127]
    head = bytes([first, 0x80 | head[0]])
    head += struct.pack("!H", length) if 126 <= length < 65536 else struct.pack("!Q", length) if length >= 65536 else b""
    frame = head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    # As the provider takes it down: without the mask.
    sent.update(bytes([first, head[1] & 0x7F]) + head[2:] + payload)
    counts[0] += len(frame)
    # By the piece, so that frames and records of TLS do not agree.
    size = plan.get("pieces", len(frame))
    for start in range(0, len(frame), size):
        tls.sendall(frame[start : start + size])


def send(message):
    global deflate
    payload, first = json.dumps(message, ensure_ascii=False).encode(), 0x01
    if deflates:
        payload, first = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH), 0x41
        payload = payload[:-4]
        if "client_no_context_takeover" in agreed:
            deflate = compressor()
    size = plan.get("fragments", len(payload))
    starts = range(0, len(payload), size)
    for start in starts:
        is_last = start + size >= len(payload)
        write((0x80 if is_last else 0) | first, payload[start : start + size])
        first = 0
        if not is_last and start % (16 * size) == 0:
            write(0x89, b"are you there?")


buffer = b""


def take(length):
    global buffer
    while len(buffer) < length:
        data = tls.recv(65536)
        if not data:
            raise EOFError
        received.update(data)
        counts[1] += len(data)
        buffer += data
    taken, buffer = buffer[:length], buffer[length:]
    return taken


def read():
    """The next message; None for a close."""
    global inflate
    message, compressed = b"", False
    while True:
        first, length = take(2)
        length = struct.unpack("!H", take(2))[0] if length == 126 else struct.unpack("!Q", take(8))[0] if length == 127 else length
        payload = take(length)
        opcode = first & 0x0F
        if opcode == 0x8:
            return None
        if opcode == 0x9:
            write(0x8A, payload)
        if opcode >= 0x8:
            continue
        compressed = compressed or first & 0x40 != 0
        message += payload
        if first & 0x80:
            break
    if compressed:
        message = inflate.decompress(message + b"\x00\x00\xff\xff")
        if "server_no_context_takeover" in agreed:
            inflate = zlib.decompressobj(wbits=-15)
    return json.loads(message)


types, usages, closed = [], [], False


def hear():
    message = read()
    if message is None:
        return None
    types.append(message["type"])
    usage = message.get("usage") or (message.get("response") or {}).get("usage")
    if usage:
        usages.append(usage)
    return message["type"]


try:
    for step in plan["steps"]:
        if "send" in step:
            send(step["send"])
        elif "wait" in step:
            while (heard := hear()) not in (step["wait"], None):
                pass
            if heard is None:
                closed = True
                break
        elif "hold" in step:
            print(step["hold"], flush=True)
            sys.stdin.close()
            while True:
                hear()
        elif "close" in step:
            write(0x88, b"\x03\xe8")
            while hear() is not None:
                pass
            closed = True
except (EOFError, ConnectionResetError, ssl.SSLError) as error:
    types.append(type(error).__name__ if isinstance(error, EOFError) else "broken")

report = {"agreed": agreed, "types": types, "usages": usages, "closed": closed}
report |= {"sent": sent.hexdigest(), "sent_bytes": counts[0], "received": received.hexdigest(), "received_bytes": counts[1]}
print(json.dumps(report))
