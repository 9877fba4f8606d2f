"""What the SDKs make of refusals: each prints the exception that it raises, its status, and what it says."""

import json

import anthropic
import openai
from google import genai
from google.genai import types

OFTEN = "+words=3"
LATE = "+words=300"

# With their usual retries, which must know a refusal that waiting does not help. Nothing tells Google's SDK, so it has none.
chat = openai.OpenAI(api_key="sk-not-a-real-key")
messages = anthropic.Anthropic(api_key="sk-ant-not-a-real-key")
gemini = genai.Client(api_key="not-a-real-key", http_options=types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1)))


def ask_chat(model, stream):
    answer = chat.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], max_completion_tokens=20, stream=stream
    )
    return list(answer) if stream else answer


def ask_responses(model, stream):
    answer = chat.responses.create(model=model, input="Hello", max_output_tokens=20, stream=stream)
    return list(answer) if stream else answer


def ask_messages(model, stream):
    answer = messages.messages.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=20, stream=stream
    )
    return list(answer) if stream else answer


def ask_gemini(model, stream):
    config = types.GenerateContentConfig(max_output_tokens=20)
    if stream:
        return list(gemini.models.generate_content_stream(model=model, contents="Hello", config=config))
    return gemini.models.generate_content(model=model, contents="Hello", config=config)


def told(api, case, call):
    line = {"api": api, "case": case}
    try:
        call()
        line["exception"] = None
    except Exception as error:  # What is not of the SDK's own family is told, and not expected.
        line["exception"] = type(error).__name__
        line["status"] = getattr(error, "status_code", None) or getattr(error, "code", None)
        line["message"] = str(error)
    print(json.dumps(line), flush=True)


for api, call, model in [
    ("chat", ask_chat, "gpt-4o-mini"),
    ("responses", ask_responses, "gpt-4.1-mini"),
    ("messages", ask_messages, "claude-sonnet-4-5"),
    ("gemini", ask_gemini, "gemini-2.5-flash"),
]:
    for stream in (False, True):
        way = f"{api}, streamed" if stream else api
        told(way, "denied", lambda: call(f"{model}-denied", stream))
        told(way, "spent", lambda: call(f"{model}-spent", stream))
    told(api, "first", lambda: call(f"{model}{OFTEN}", False))
    told(api, "often", lambda: call(f"{model}{OFTEN}", False))
    told(api, "late", lambda: call(f"{model}{LATE}", True))
