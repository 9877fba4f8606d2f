"""Anthropic's SDK: messages; whole, streamed, with tools, thinking, refused."""

import anthropic

import told

MODEL = "claude-sonnet-4-5"
ASK = [{"role": "user", "content": "Say “naïve 漢字 🚦”, please."}]
TOOLS = [
    {
        "name": "weather",
        "description": "The weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    }
]
CACHED = [{"type": "text", "text": "You are a toll gate.", "cache_control": {"type": "ephemeral"}}]

client = anthropic.Anthropic(api_key="sk-ant-not-a-real-key")


def results(message):
    """The conversation so far, with each tool's argument as its result."""
    content = [
        {"type": "tool_result", "tool_use_id": block.id, "content": str(block.input)}
        for block in message.content
        if block.type == "tool_use"
    ]
    assert content, "the stand-in calls tools"
    return [*ASK, {"role": "assistant", "content": message.content}, {"role": "user", "content": content}]


told.case("message, as it came")
answer = client.messages.with_raw_response.create(model=MODEL, max_tokens=1000, messages=ASK)
told.raw(answer.http_response)
told.other_end(answer.http_response)

told.case("message")
told.data(client.messages.create(model=MODEL, max_tokens=1000, messages=ASK, system=CACHED))

told.case("message, streamed")
for event in client.messages.create(model=MODEL, max_tokens=1000, messages=ASK, system=CACHED, stream=True):
    told.data(event)

told.case("message with thinking, streamed")
with client.messages.stream(
    model=MODEL, max_tokens=2000, messages=ASK, thinking={"type": "enabled", "budget_tokens": 1024}
) as stream:
    for event in stream:
        told.data(event)

told.case("message with a tool")
first = client.messages.create(model=MODEL, max_tokens=1000, messages=ASK, tools=TOOLS)
told.data(first)
told.data(client.messages.create(model=MODEL, max_tokens=1000, messages=results(first), tools=TOOLS))

told.case("message with a tool, streamed")
with client.messages.stream(model=MODEL, max_tokens=1000, messages=ASK, tools=TOOLS) as stream:
    for event in stream:
        told.data(event)
    first = stream.get_final_message()
with client.messages.stream(model=MODEL, max_tokens=1000, messages=results(first), tools=TOOLS) as stream:
    for event in stream:
        told.data(event)

told.case("count of tokens")
told.data(client.messages.count_tokens(model=MODEL, messages=ASK))

told.case("refused")
try:
    client.messages.create(model=f"{MODEL}+400", max_tokens=1000, messages=ASK)
except anthropic.BadRequestError as error:
    told.refusal(error)

told.case("overloaded in the middle of a stream")
try:
    for event in client.messages.create(model=f"{MODEL}+error=5", max_tokens=1000, messages=ASK, stream=True):
        told.data(event)
except anthropic.APIStatusError as error:
    told.refusal(error)
