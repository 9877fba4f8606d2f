"""What the SDKs of the other dialects make of refusals: each prints the exception that it raises, and what it says."""

import json

import boto3
import botocore.config
import botocore.exceptions
import cohere
import ollama
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

ASK = [{"role": "user", "content": "Hello"}]
LATE = "+words=300"
# Nothing in an answer keeps Amazon's SDK and Cohere's from trying again what was refused.
ONCE = {"max_retries": 0}

bedrock = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    aws_access_key_id="stand-in-key",
    aws_secret_access_key="stand-in-secret",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)
command = cohere.ClientV2(api_key="not-a-real-key")
mistral = Mistral(api_key="not-a-real-key")
# The host comes from OLLAMA_HOST.
llama = ollama.Client()


def ask_bedrock(model, stream):
    ask = {
        "modelId": model,
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 20},
    }
    if stream:
        return list(bedrock.converse_stream(**ask)["stream"])
    return bedrock.converse(**ask)


def ask_cohere(model, stream):
    if stream:
        return list(command.chat_stream(model=model, messages=ASK, max_tokens=20, request_options=ONCE))
    return command.chat(model=model, messages=ASK, max_tokens=20, request_options=ONCE)


def ask_mistral(model, stream):
    if stream:
        return list(mistral.chat.stream(model=model, messages=ASK, max_tokens=20))
    return mistral.chat.complete(model=model, messages=ASK, max_tokens=20)


def ask_ollama(model, stream):
    answer = llama.chat(model=model, messages=ASK, stream=stream, options={"num_predict": 20})
    return list(answer) if stream else answer


def status_of(error):
    if isinstance(error, botocore.exceptions.ClientError):
        # Late in a stream there is none.
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status_code", None)


def told(api, case, call):
    line = {"api": api, "case": case}
    try:
        answer = call()
        line["exception"] = None
        if isinstance(answer, list) and answer:
            line["message"] = repr(answer[-1])
    except Exception as error:  # Each SDK has a family of its own.
        line["exception"] = type(error).__name__
        line["status"] = status_of(error)
        line["message"] = str(error)
    print(json.dumps(line), flush=True)


for api, call, model in [
    ("bedrock", ask_bedrock, "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("cohere", ask_cohere, "command-a-03-2025"),
    ("mistral", ask_mistral, "mistral-medium-latest"),
    ("ollama", ask_ollama, "llama3.2"),
]:
    for stream in (False, True):
        way = f"{api}, streamed" if stream else api
        told(way, "denied", lambda: call(f"{model}-denied", stream))
        told(way, "spent", lambda: call(f"{model}-spent", stream))
    told(api, "late", lambda: call(f"{model}{LATE}", True))
