// OpenAI's SDK: chat completions, responses and embeddings; whole, streamed, with tools, refused.
'use strict';

const OpenAI = require('openai');
const { say, data, raw, refusal, run } = require('./told.cjs');

const MODEL = 'gpt-4o-mini';
const ASK = [{ role: 'user', content: 'Say “naïve 漢字 🚦”, please.' }];
const WEATHER = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
  additionalProperties: false,
};
const CHAT_TOOLS = [{ type: 'function', function: { name: 'weather', description: 'The weather', parameters: WEATHER } }];
const TOOLS = [{ type: 'function', name: 'weather', description: 'The weather', parameters: WEATHER, strict: true }];
const WITH_USAGE = { stream: true, stream_options: { include_usage: true } };

// The conversation so far, with each tool's arguments as its result.
const results = (message) => {
  if (!message.tool_calls?.length) throw new Error('the stand-in calls tools');
  const each = (call) => ({ role: 'tool', tool_call_id: call.id, content: call.function.arguments });
  return [...ASK, message, ...message.tool_calls.map(each)];
};

run(async () => {
  const client = new OpenAI({ apiKey: 'sk-not-a-real-key' });
  const chat = client.chat.completions;

  say('chat, as it came');
  await raw(await chat.create({ model: MODEL, messages: ASK }).asResponse());

  say('chat');
  data(await chat.create({ model: MODEL, messages: ASK, temperature: 0 }));

  say('chat, streamed');
  for await (const chunk of await chat.create({ model: MODEL, messages: ASK, ...WITH_USAGE })) data(chunk);

  say('chat with a tool');
  let first = (await chat.create({ model: MODEL, messages: ASK, tools: CHAT_TOOLS })).choices[0].message;
  data(first);
  data(await chat.create({ model: MODEL, messages: results(first), tools: CHAT_TOOLS }));

  say('chat with a tool, streamed');
  let stream = chat.stream({ model: MODEL, messages: ASK, tools: CHAT_TOOLS, ...WITH_USAGE });
  for await (const chunk of stream) data(chunk);
  first = (await stream.finalChatCompletion()).choices[0].message;
  stream = chat.stream({ model: MODEL, messages: results(first), tools: CHAT_TOOLS, ...WITH_USAGE });
  for await (const chunk of stream) data(chunk);
  data(await stream.finalChatCompletion());

  say('response');
  data(await client.responses.create({ model: MODEL, input: 'Say it again.' }));

  say('response, streamed');
  for await (const event of await client.responses.create({ model: MODEL, input: 'Say it again.', stream: true })) data(event);

  say('response with a tool');
  const answer = await client.responses.create({ model: MODEL, input: ASK, tools: TOOLS });
  data(answer);
  const calls = answer.output.filter((item) => item.type === 'function_call');
  if (!calls.length) throw new Error('the stand-in calls tools');
  const outputs = calls.map((call) => ({ type: 'function_call_output', call_id: call.call_id, output: call.arguments }));
  const input = [...ASK, ...answer.output, ...outputs];
  for await (const event of await client.responses.create({ model: MODEL, input, tools: TOOLS, stream: true })) data(event);

  say('embeddings');
  data(await client.embeddings.create({ model: 'text-embedding-3-small', input: ['toll', 'gate'] }));

  say('models');
  for await (const model of client.models.list()) data(model);

  say('refused');
  await chat.create({ model: `${MODEL}+400`, messages: ASK }).catch(refusal);

  say('limited');
  await chat.create({ model: `${MODEL}+429+retry-after=7`, messages: ASK }, { maxRetries: 0 }).catch((error) => {
    refusal(error);
    console.log(error.headers.get('retry-after'));
  });

  say('four streams at once');
  const one = async (number) => {
    const messages = [{ role: 'user', content: `Number ${number}` }];
    const chunks = [];
    for await (const chunk of await chat.create({ model: MODEL, messages, ...WITH_USAGE })) chunks.push(chunk);
    return chunks;
  };
  for (const chunks of await Promise.all([0, 1, 2, 3].map(one))) data(chunks);
});
