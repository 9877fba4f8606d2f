"""OpenAI's SDK on WebSockets: Realtime by text and by sound, and Responses."""

import base64
import sys

import openai

import told

client = openai.OpenAI(api_key="sk-not-a-real-key")
# Pings come by the clock, and two runs shall be the same.
QUIET = {"ping_interval": None}


def other_end(connection):
    socket = connection._connection.socket
    print("peer", *socket.getpeername()[:2], file=sys.stderr)
    issuer = dict(pair for (pair,) in socket.getpeercert()["issuer"])
    print("issuer", issuer["commonName"], file=sys.stderr)


def until(connection, kind):
    for event in connection:
        told.data(event)
        if event.type == kind:
            return


told.case("realtime, by text")
with client.realtime.connect(model="gpt-realtime", websocket_connection_options=QUIET) as connection:
    other_end(connection)
    connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    until(connection, "session.updated")
    for words in ("Say “naïve 漢字 🚦”, please.", "Again."):
        content = [{"type": "input_text", "text": words}]
        connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        connection.response.create(response={"output_modalities": ["text"]})
        until(connection, "response.done")

told.case("realtime, by sound")
with client.realtime.connect(model="gpt-realtime", websocket_connection_options=QUIET) as connection:
    transcribe = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    connection.session.update(session=transcribe)
    for _ in range(10):
        connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4_800)).decode())
    connection.input_audio_buffer.commit()
    connection.response.create()
    until(connection, "response.done")

told.case("responses")
with client.responses.connect(websocket_connection_options=QUIET) as connection:
    for words in ("Hello", "Say it again. " * 500):
        connection.response.create(model="gpt-4o-mini", input=words)
        until(connection, "response.completed")
