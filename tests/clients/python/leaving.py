"""The three SDKs: streams read to their end, left half-way, and hit by faults; with and without asking for the usage."""

import anthropic
import openai
from google import genai
from google.genai import types

ROUNDS = 3
# Slow enough that whoever leaves after eight events has not been sent all of it.
FAULTS = ["", "+slow=100+words=60", "+429", "+500", "+529", "+error=4", "+reset=4", "+truncate=4"]
LEAVES = "+slow=100+words=60"

chat = openai.OpenAI(api_key="sk-not-a-real-key", max_retries=0)
messages = anthropic.Anthropic(api_key="sk-ant-not-a-real-key", max_retries=0)
gemini = genai.Client(
    api_key="not-a-real-key", http_options=types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1))
)


def chat_with_usage(faults, ask):
    return chat.chat.completions.create(
        model=f"gpt-4o-mini{faults}", messages=ask, stream=True, stream_options={"include_usage": True}
    )


def chat_without_usage(faults, ask):
    return chat.chat.completions.create(model=f"gpt-4o-mini{faults}", messages=ask, stream=True)


def response(faults, ask):
    return chat.responses.create(model=f"gpt-4o-mini{faults}", input=ask, stream=True)


def message(faults, ask):
    return messages.messages.create(model=f"claude-sonnet-4-5{faults}", max_tokens=1000, messages=ask, stream=True)


class Generated:
    """Google's SDK gives a plain generator, which is left by closing it."""

    def __init__(self, faults, ask):
        self.chunks = gemini.models.generate_content_stream(
            model=f"gemini-2.5-flash{faults}", contents=ask[0]["content"]
        )

    def __iter__(self):
        return iter(self.chunks)

    def close(self):
        self.chunks.close()


calls = whole = left = failed = 0
for turn in range(ROUNDS):
    for api in (chat_with_usage, chat_without_usage, response, message, Generated):
        for faults in FAULTS:
            ask = [{"role": "user", "content": f"Turn {turn} of {api.__name__}, with {faults or 'no fault'}: naïve 漢字 🚦?"}]
            calls += 1
            events = 0
            try:
                stream = api(faults, ask)
                for _ in stream:
                    events += 1
                    if faults == LEAVES and events == 8:
                        stream.close()
                        left += 1
                        break
                else:
                    whole += 1
            except Exception as error:
                failed += 1
                print(f"{api.__name__}{faults}: {type(error).__name__}", flush=True)
print(f"calls {calls}, whole {whole}, left {left}, failed {failed}", flush=True)
