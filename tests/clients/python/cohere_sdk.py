"""Cohere's SDK: chat, whole and streamed, embeddings and reranking; refused."""

import cohere
import httpx

import told

MODEL = "command-a-03-2025"
ASK = [{"role": "user", "content": "Say “naïve 漢字 🚦”, please."}]

client = cohere.ClientV2(
    api_key="not-a-real-key", httpx_client=httpx.Client(event_hooks={"response": [told.other_end]})
)

told.case("chat")
told.data(client.chat(model=MODEL, messages=ASK))

told.case("chat, streamed")
for event in client.chat_stream(model=MODEL, messages=ASK):
    told.data(event)

told.case("embeddings")
told.data(
    client.embed(
        model="embed-v4.0", texts=["naïve", "漢字"], input_type="search_document", embedding_types=["float"]
    )
)

told.case("reranking")
told.data(client.rerank(model="rerank-v3.5", query="naïve", documents=["façade", "漢字", "naïve"], top_n=2))

told.case("refused")
try:
    client.chat(model=f"{MODEL}+400", messages=ASK)
except cohere.BadRequestError as error:
    told.refusal(error)
