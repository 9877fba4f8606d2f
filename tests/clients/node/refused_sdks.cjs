// What the SDKs for Node make of refusals: each prints the exception that it raises, its status, and what it says.
'use strict';

const Anthropic = require('@anthropic-ai/sdk');
const OpenAI = require('openai');
const { GoogleGenAI } = require('@google/genai');

const OFTEN = '+words=3';
const LATE = '+words=300';
const ASK = [{ role: 'user', content: 'Hello' }];

// With their usual retries, which must know a refusal that waiting does not help.
const openai = new OpenAI({ apiKey: 'sk-not-a-real-key' });
const anthropic = new Anthropic({ apiKey: 'sk-ant-not-a-real-key' });
const gemini = new GoogleGenAI({ apiKey: 'not-a-real-key' });

const read = async (stream) => {
  for await (const _event of stream);
};

const apis = {
  chat: ['gpt-4o-mini', async (model, stream) => {
    const answer = await openai.chat.completions.create({ model, messages: ASK, max_completion_tokens: 20, stream });
    if (stream) await read(answer);
  }],
  responses: ['gpt-4.1-mini', async (model, stream) => {
    const answer = await openai.responses.create({ model, input: 'Hello', max_output_tokens: 20, stream });
    if (stream) await read(answer);
  }],
  messages: ['claude-sonnet-4-5', async (model, stream) => {
    const answer = await anthropic.messages.create({ model, messages: ASK, max_tokens: 20, stream });
    if (stream) await read(answer);
  }],
  gemini: ['gemini-2.5-flash', async (model, stream) => {
    const ask = { model, contents: 'Hello', config: { maxOutputTokens: 20 } };
    if (stream) await read(await gemini.models.generateContentStream(ask));
    else await gemini.models.generateContent(ask);
  }],
};

const told = async (api, kind, call) => {
  const line = { api, case: kind, exception: null };
  try {
    await call();
  } catch (error) {
    line.exception = error.constructor.name;
    line.status = error.status ?? null;
    line.message = String(error.message);
  }
  console.log(JSON.stringify(line));
};

(async () => {
  for (const [api, [model, call]] of Object.entries(apis)) {
    for (const stream of [false, true]) {
      const way = stream ? `${api}, streamed` : api;
      await told(way, 'denied', () => call(`${model}-denied`, stream));
      await told(way, 'spent', () => call(`${model}-spent`, stream));
    }
    await told(api, 'first', () => call(`${model}${OFTEN}`, false));
    await told(api, 'often', () => call(`${model}${OFTEN}`, false));
    await told(api, 'late', () => call(`${model}${LATE}`, true));
  }
})();
