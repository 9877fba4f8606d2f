// Anthropic's SDK: messages; whole, streamed, with tools, thinking, refused.
'use strict';

const Anthropic = require('@anthropic-ai/sdk');
const { say, data, raw, refusal, run } = require('./told.cjs');

const MODEL = 'claude-sonnet-4-5';
const ASK = [{ role: 'user', content: 'Say “naïve 漢字 🚦”, please.' }];
const TOOLS = [
  {
    name: 'weather',
    description: 'The weather',
    input_schema: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city', 'days'],
    },
  },
];
const system = [{ type: 'text', text: 'You are a toll gate.', cache_control: { type: 'ephemeral' } }];

// The conversation so far, with each tool's arguments as its result.
const results = (message) => {
  const calls = message.content.filter((block) => block.type === 'tool_use');
  if (!calls.length) throw new Error('the stand-in calls tools');
  const each = (call) => ({ type: 'tool_result', tool_use_id: call.id, content: JSON.stringify(call.input) });
  return [...ASK, { role: 'assistant', content: message.content }, { role: 'user', content: calls.map(each) }];
};

run(async () => {
  const client = new Anthropic({ apiKey: 'sk-ant-not-a-real-key' });
  const call = { model: MODEL, max_tokens: 2000, messages: ASK };

  say('message, as it came');
  await raw(await client.messages.create(call).asResponse());

  say('message');
  data(await client.messages.create({ ...call, system }));

  say('message, streamed');
  for await (const event of await client.messages.create({ ...call, system, stream: true })) data(event);

  say('message with thinking, streamed');
  const thinking = { type: 'enabled', budget_tokens: 1024 };
  for await (const event of await client.messages.create({ ...call, thinking, stream: true })) data(event);

  say('message with a tool');
  let first = await client.messages.create({ ...call, tools: TOOLS });
  data(first);
  data(await client.messages.create({ ...call, messages: results(first), tools: TOOLS }));

  say('message with a tool, streamed');
  let stream = client.messages.stream({ ...call, tools: TOOLS });
  for await (const event of stream) data(event);
  first = await stream.finalMessage();
  stream = client.messages.stream({ ...call, messages: results(first), tools: TOOLS });
  for await (const event of stream) data(event);
  data(await stream.finalMessage());

  say('count of tokens');
  data(await client.messages.countTokens({ model: MODEL, messages: ASK }));

  say('refused');
  await client.messages.create({ ...call, model: `${MODEL}+400` }).catch(refusal);

  say('overloaded in the middle of a stream');
  try {
    for await (const event of await client.messages.create({ ...call, model: `${MODEL}+error=5`, stream: true })) data(event);
  } catch (error) {
    refusal(error);
  }
});
