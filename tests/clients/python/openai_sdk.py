"""OpenAI's SDK: chat completions, responses and embeddings; whole, streamed, with tools, refused."""

import asyncio

import openai

import told

MODEL = "gpt-4o-mini"
ASK = [{"role": "user", "content": "Say “naïve 漢字 🚦”, please."}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": WEATHER}}]
TOOLS = [{"type": "function", "name": "weather", "description": "The weather", "parameters": WEATHER, "strict": True}]

client = openai.OpenAI(api_key="sk-not-a-real-key")

told.case("chat, as it came")
answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
told.raw(answer.http_response)
told.other_end(answer.http_response)

told.case("chat")
told.data(client.chat.completions.create(model=MODEL, messages=ASK, temperature=0))

told.case("chat, streamed")
for chunk in client.chat.completions.create(
    model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
):
    told.data(chunk)

told.case("chat, streamed without usage")
for chunk in client.chat.completions.create(model=MODEL, messages=ASK, stream=True):
    told.data(chunk)

told.case("chat with a tool")
first = client.chat.completions.create(model=MODEL, messages=ASK, tools=CHAT_TOOLS).choices[0].message
told.data(first)
results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.arguments} for call in first.tool_calls]
told.data(client.chat.completions.create(model=MODEL, messages=[*ASK, first, *results], tools=CHAT_TOOLS))

told.case("chat with a tool, streamed")
with client.chat.completions.stream(
    model=MODEL, messages=ASK, tools=CHAT_TOOLS, stream_options={"include_usage": True}
) as stream:
    for event in stream:
        told.data(event)
    first = stream.get_final_completion().choices[0].message
calls = [
    {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
    for call in first.tool_calls
]
results = [{"role": "tool", "tool_call_id": call["id"], "content": call["function"]["arguments"]} for call in calls]
with client.chat.completions.stream(
    model=MODEL,
    messages=[*ASK, {"role": "assistant", "tool_calls": calls}, *results],
    tools=CHAT_TOOLS,
    stream_options={"include_usage": True},
) as stream:
    for event in stream:
        told.data(event)

told.case("response")
told.data(client.responses.create(model=MODEL, input="Say it again."))

told.case("response, streamed")
for event in client.responses.create(model=MODEL, input="Say it again.", stream=True):
    told.data(event)

told.case("response with a tool")
first = client.responses.create(model=MODEL, input=ASK, tools=TOOLS)
told.data(first)
results = [
    {"type": "function_call_output", "call_id": item.call_id, "output": item.arguments}
    for item in first.output
    if item.type == "function_call"
]
assert results, "the stand-in calls tools"
told.data(client.responses.create(model=MODEL, input=[*ASK, *first.output, *results], tools=TOOLS))

told.case("response with a tool, streamed")
with client.responses.stream(model=MODEL, input=ASK, tools=TOOLS) as stream:
    for event in stream:
        told.data(event)

told.case("embeddings")
told.data(client.embeddings.create(model="text-embedding-3-small", input=["toll", "gate"]))

told.case("models")
told.data(client.models.list())

told.case("refused")
try:
    client.chat.completions.create(model=f"{MODEL}+400", messages=ASK)
except openai.BadRequestError as error:
    told.refusal(error)

told.case("limited")
try:
    client.with_options(max_retries=0).chat.completions.create(model=f"{MODEL}+429+retry-after=7", messages=ASK)
except openai.RateLimitError as error:
    told.refusal(error)
    print(error.response.headers["retry-after"])


async def concurrently():
    async with openai.AsyncOpenAI(api_key="sk-not-a-real-key") as client:

        async def stream(number):
            ask = [{"role": "user", "content": f"Number {number}"}]
            chunks = await client.chat.completions.create(
                model=MODEL, messages=ask, stream=True, stream_options={"include_usage": True}
            )
            return [chunk async for chunk in chunks]

        return await asyncio.gather(*(stream(number) for number in range(4)))


told.case("four streams at once")
for chunks in asyncio.run(concurrently()):
    for chunk in chunks:
        told.data(chunk)
