"""Ollama's SDK against a server with TLS: chat and generate, whole and streamed as lines, and embeddings; refused."""

import ollama

import told

MODEL = "llama3.2"
ASK = "Say “naïve 漢字 🚦”, please."
MESSAGES = [{"role": "user", "content": ASK}]

# The host comes from OLLAMA_HOST.
client = ollama.Client(event_hooks={"response": [told.other_end]})

told.case("chat")
told.data(client.chat(model=MODEL, messages=MESSAGES))

told.case("chat, streamed")
for part in client.chat(model=MODEL, messages=MESSAGES, stream=True):
    told.data(part)

told.case("generate")
told.data(client.generate(model=MODEL, prompt=ASK))

told.case("generate, streamed")
for part in client.generate(model=MODEL, prompt=ASK, stream=True):
    told.data(part)

told.case("embeddings")
told.data(client.embed(model="nomic-embed-text", input=["naïve", "漢字"]))

told.case("refused")
try:
    client.chat(model=f"{MODEL}+400", messages=MESSAGES)
except ollama.ResponseError as error:
    told.refusal(error)
