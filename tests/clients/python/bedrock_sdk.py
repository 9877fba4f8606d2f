"""Amazon's SDK: Bedrock's conversations and models, whole and streamed, signed anew for each request; refused, and broken off."""

import json

import boto3
import botocore.awsrequest
import botocore.exceptions

import told

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ASK = "Say “naïve 漢字 🚦”, please."
MESSAGES = [{"role": "user", "content": [{"text": ASK}]}]
TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "weather",
                "description": "The weather",
                "inputSchema": {
                    "json": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                        "required": ["city", "days"],
                    }
                },
            }
        }
    ]
}
FOR_CLAUDE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": ASK}],
}
FOR_NOVA = {"schemaVersion": "messages-v1", "messages": MESSAGES}


class Told(botocore.awsrequest.AWSHTTPSConnection):
    """The SDK's own connection, and what its other end is."""

    def connect(self):
        super().connect()
        told.socket(self.sock)


botocore.awsrequest.AWSHTTPSConnectionPool.ConnectionCls = Told
client = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    aws_access_key_id="stand-in-key",
    aws_secret_access_key="stand-in-secret",
)


def invoke(model, body):
    answer = client.invoke_model(modelId=model, body=json.dumps(body))
    answer["body"] = answer["body"].read().decode()
    told.data(answer)


def stream(model, body):
    answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    for event in answer["body"]:
        told.data(json.loads(event["chunk"]["bytes"]))


def converse(**request):
    answer = client.converse(modelId=CLAUDE, **request)
    # How often it tried is its own affair.
    del answer["ResponseMetadata"]["RetryAttempts"]
    told.data(answer)
    return answer["output"]["message"]


told.case("converse")
converse(messages=MESSAGES)

told.case("converse, streamed")
for event in client.converse_stream(modelId=CLAUDE, messages=MESSAGES)["stream"]:
    told.data(event)

told.case("converse with a tool")
first = converse(messages=MESSAGES, toolConfig=TOOLS)
results = [
    {"toolResult": {"toolUseId": part["toolUse"]["toolUseId"], "content": [{"json": part["toolUse"]["input"]}]}}
    for part in first["content"]
]
converse(messages=[*MESSAGES, first, {"role": "user", "content": results}], toolConfig=TOOLS)

told.case("converse with a tool, streamed")
for event in client.converse_stream(modelId=CLAUDE, messages=MESSAGES, toolConfig=TOOLS)["stream"]:
    told.data(event)

told.case("invoke")
invoke(CLAUDE, FOR_CLAUDE)
invoke("amazon.nova-pro-v1:0", FOR_NOVA)
invoke("meta.llama3-3-70b-instruct-v1:0", {"prompt": ASK})
invoke("amazon.titan-text-express-v1", {"inputText": ASK})
invoke("amazon.titan-embed-text-v2:0", {"inputText": ASK})

told.case("invoke, counted in headers alone")
invoke("mistral.mistral-7b-instruct-v0:2", {"prompt": ASK})
invoke("cohere.command-r-v1:0", {"message": ASK})

told.case("invoke, streamed")
stream(CLAUDE, FOR_CLAUDE)
stream("amazon.nova-pro-v1:0", FOR_NOVA)
stream("meta.llama3-3-70b-instruct-v1:0", {"prompt": ASK})
stream("mistral.mistral-7b-instruct-v0:2", {"prompt": ASK})

told.case("a stream in frames that are split anywhere")
for event in client.converse_stream(modelId=f"{CLAUDE}+split=11", messages=MESSAGES)["stream"]:
    told.data(event)

told.case("refused")
try:
    client.converse(modelId=f"{CLAUDE}+400", messages=MESSAGES)
except client.exceptions.ValidationException as error:
    told.refusal(error)
