"""OpenAI's SDK on WebSockets: Realtime by text and by sound, and Responses.

By asyncio: the package's threads read and write one TLS connection at the same time, which Python's does not bear every time.
"""

import asyncio
import base64
import sys

import openai

import told

client = openai.AsyncOpenAI(api_key="sk-not-a-real-key")
# Pings come by the clock, and two runs shall be the same.
QUIET = {"ping_interval": None}


def other_end(connection):
    transport = connection._connection.transport
    print("peer", *transport.get_extra_info("peername")[:2], file=sys.stderr)
    issuer = dict(pair for (pair,) in transport.get_extra_info("ssl_object").getpeercert()["issuer"])
    print("issuer", issuer["commonName"], file=sys.stderr)


async def until(connection, kind):
    async for event in connection:
        told.data(event)
        if event.type == kind:
            return


async def main():
    told.case("realtime, by text")
    async with client.realtime.connect(model="gpt-realtime", websocket_connection_options=QUIET) as connection:
        other_end(connection)
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await until(connection, "session.updated")
        for words in ("Say “naïve 漢字 🚦”, please.", "Again."):
            content = [{"type": "input_text", "text": words}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connection.response.create(response={"output_modalities": ["text"]})
            await until(connection, "response.done")

    told.case("realtime, by sound")
    async with client.realtime.connect(model="gpt-realtime", websocket_connection_options=QUIET) as connection:
        transcribe = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
        await connection.session.update(session=transcribe)
        for _ in range(10):
            await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4_800)).decode())
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await until(connection, "response.done")

    told.case("responses")
    async with client.responses.connect(websocket_connection_options=QUIET) as connection:
        for words in ("Hello", "Say it again. " * 500):
            await connection.response.create(model="gpt-4o-mini", input=words)
            await until(connection, "response.completed")


asyncio.run(main())
