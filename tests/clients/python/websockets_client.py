"""The package `websockets`, which offers permessage-deflate by itself: with it, with each of its options, and without."""

import asyncio
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import told

URL = "wss://api.openai.com"
# Pings come by the clock, and two runs shall be the same.
SETTINGS = {"additional_headers": {"Authorization": "Bearer sk-not-a-real-key"}, "ping_interval": None}
ALONE = {"server_no_context_takeover": True, "client_no_context_takeover": True}
WAYS = {
    "as it comes": {},
    "plain": {"compression": None},
    "each message alone": {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**ALONE)]},
    "a small window": {"compression": None, "extensions": [ClientPerMessageDeflateFactory(client_max_window_bits=9)]},
}


def other_end(connection):
    tls = connection.transport.get_extra_info("ssl_object")
    print("peer", *connection.remote_address[:2], file=sys.stderr)
    print("issuer", dict(pair for (pair,) in tls.getpeercert()["issuer"])["commonName"], file=sys.stderr)


async def until(connection, kind):
    while True:
        text = await connection.recv()
        print(text, flush=True)
        if json.loads(text)["type"] == kind:
            return


async def realtime(options):
    async with websockets.connect(f"{URL}/v1/realtime?model=gpt-realtime", **SETTINGS, **options) as connection:
        other_end(connection)
        for number in range(3):
            sound = {"type": "input_audio_buffer.append", "audio": "AAAA" * 20_000}
            await connection.send(json.dumps(sound))
            await connection.send(json.dumps({"type": "response.create", "event_id": f"mine-{number}"}))
            await until(connection, "response.done")


async def responses(options):
    async with websockets.connect(f"{URL}/v1/responses", **SETTINGS, **options) as connection:
        for words in ("Hello", "Say “naïve 漢字 🚦”, please. " * 500):
            create = {"type": "response.create", "model": "gpt-4o-mini", "input": words}
            # In fragments, where the library is given pieces.
            text = json.dumps(create, ensure_ascii=False)
            await connection.send([text[:20], text[20:40], text[40:]])
            await until(connection, "response.completed")


async def all_of_them():
    for name, options in WAYS.items():
        told.case(f"realtime, {name}")
        await realtime(options)
        told.case(f"responses, {name}")
        await responses(options)


asyncio.run(all_of_them())
