"""Mistral's SDK: chat, whole and streamed, with tools, and embeddings; refused."""

import httpx2
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

import told

MODEL = "mistral-medium-latest"
ASK = [{"role": "user", "content": "Say “naïve 漢字 🚦”, please."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]

client = Mistral(
    api_key="not-a-real-key",
    client=httpx2.Client(event_hooks={"response": [told.other_end]}, follow_redirects=True),
)

told.case("chat")
told.data(client.chat.complete(model=MODEL, messages=ASK))

told.case("chat, streamed")
for event in client.chat.stream(model=MODEL, messages=ASK):
    told.data(event.data)

told.case("chat with a tool")
told.data(client.chat.complete(model=MODEL, messages=ASK, tools=TOOLS))

told.case("chat with a tool, streamed")
for event in client.chat.stream(model=MODEL, messages=ASK, tools=TOOLS):
    told.data(event.data)

told.case("embeddings")
told.data(client.embeddings.create(model="mistral-embed", inputs=["naïve", "漢字"]))

told.case("refused")
try:
    client.chat.complete(model=f"{MODEL}+400", messages=ASK)
except SDKError as error:
    told.refusal(error)
