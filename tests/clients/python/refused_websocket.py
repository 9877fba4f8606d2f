"""OpenAI's SDK on WebSockets under a policy: what is refused is an error event, and the session goes on."""

import asyncio
import json

import openai

client = openai.AsyncOpenAI(api_key="sk-not-a-real-key")


async def until(connection, case, *kinds):
    async for event in connection:
        if event.type in kinds:
            error = getattr(event, "error", None)
            line = {"api": "websocket", "case": case, "exception": event.type, "message": str(getattr(error, "message", ""))}
            print(json.dumps(line), flush=True)
            return


async def main():
    async with client.responses.connect() as connection:
        for case, model in (("first", "gpt-4o-mini"), ("denied", "gpt-4o-mini-denied"), ("again", "gpt-4o-mini"), ("spent", "gpt-4o-mini-spent")):
            await connection.response.create(model=model, input="Hello", max_output_tokens=20)
            await until(connection, case, "response.completed", "error")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await until(connection, "realtime, updated", "session.updated")
        for case in ("realtime, first", "realtime, often"):
            await connection.response.create(response={"output_modalities": ["text"], "max_output_tokens": 20})
            await until(connection, case, "response.done", "error")
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await until(connection, "realtime, goes on", "session.updated")


asyncio.run(main())
