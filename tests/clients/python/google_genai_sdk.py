"""Google's SDK: content; whole, streamed, with tools, embedded, refused."""

from google import genai
from google.genai import errors, types

import told

MODEL = "gemini-2.5-flash"
ASK = "Say “naïve 漢字 🚦”, please."
TOOLS = types.GenerateContentConfig(
    tools=[
        types.Tool(
            function_declarations=[
                types.FunctionDeclaration(
                    name="weather",
                    description="The weather",
                    parameters=types.Schema(
                        type="OBJECT",
                        properties={"city": types.Schema(type="STRING"), "days": types.Schema(type="INTEGER")},
                        required=["city", "days"],
                    ),
                )
            ]
        )
    ]
)
THOUGHTS = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))

client = genai.Client(api_key="not-a-real-key")


def results(content):
    """The conversation so far, with each function's arguments as its result."""
    parts = [
        types.Part.from_function_response(name=part.function_call.name, response={"result": part.function_call.args})
        for part in content.parts
        if part.function_call
    ]
    assert parts, "the stand-in calls functions"
    return [types.UserContent(ASK), content, types.Content(role="user", parts=parts)]


told.case("content")
told.data(client.models.generate_content(model=MODEL, contents=ASK))

told.case("content, streamed")
for chunk in client.models.generate_content_stream(model=MODEL, contents=ASK):
    told.data(chunk)

told.case("content with thoughts, streamed")
for chunk in client.models.generate_content_stream(model=MODEL, contents=ASK, config=THOUGHTS):
    told.data(chunk)

told.case("content with a function")
first = client.models.generate_content(model=MODEL, contents=ASK, config=TOOLS)
told.data(first)
told.data(client.models.generate_content(model=MODEL, contents=results(first.candidates[0].content), config=TOOLS))

told.case("content with a function, streamed")
chunks = list(client.models.generate_content_stream(model=MODEL, contents=ASK, config=TOOLS))
for chunk in chunks:
    told.data(chunk)
parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
for chunk in client.models.generate_content_stream(
    model=MODEL, contents=results(types.Content(role="model", parts=parts)), config=TOOLS
):
    told.data(chunk)

told.case("embedding")
told.data(client.models.embed_content(model="gemini-embedding-001", contents="toll gate"))

told.case("count of tokens")
told.data(client.models.count_tokens(model=MODEL, contents=ASK))

told.case("refused")
try:
    client.models.generate_content(model=f"{MODEL}+400", contents=ASK)
except errors.ClientError as error:
    told.refusal(error)
