// Google's SDK: content; whole, streamed, with functions, embedded, refused.
'use strict';

const { GoogleGenAI } = require('@google/genai');
const { say, data, refusal, run } = require('./told.cjs');

const MODEL = 'gemini-2.5-flash';
const ASK = 'Say “naïve 漢字 🚦”, please.';
const tools = [
  {
    functionDeclarations: [
      {
        name: 'weather',
        description: 'The weather',
        parameters: {
          type: 'OBJECT',
          properties: { city: { type: 'STRING' }, days: { type: 'INTEGER' } },
          required: ['city', 'days'],
        },
      },
    ],
  },
];

// The conversation so far, with each function's arguments as its result.
const results = (content) => {
  const calls = content.parts.filter((part) => part.functionCall);
  if (!calls.length) throw new Error('the stand-in calls functions');
  const each = ({ functionCall: { name, args } }) => ({ functionResponse: { name, response: { result: args } } });
  return [{ role: 'user', parts: [{ text: ASK }] }, content, { role: 'user', parts: calls.map(each) }];
};

run(async () => {
  const { models } = new GoogleGenAI({ apiKey: 'not-a-real-key' });

  say('content');
  data(await models.generateContent({ model: MODEL, contents: ASK }));

  say('content, streamed');
  for await (const chunk of await models.generateContentStream({ model: MODEL, contents: ASK })) data(chunk);

  say('content with thoughts, streamed');
  const config = { thinkingConfig: { includeThoughts: true } };
  for await (const chunk of await models.generateContentStream({ model: MODEL, contents: ASK, config })) data(chunk);

  say('content with a function');
  const first = await models.generateContent({ model: MODEL, contents: ASK, config: { tools } });
  data(first);
  const contents = results(first.candidates[0].content);
  data(await models.generateContent({ model: MODEL, contents, config: { tools } }));

  say('content with a function, streamed');
  const parts = [];
  for await (const chunk of await models.generateContentStream({ model: MODEL, contents: ASK, config: { tools } })) {
    data(chunk);
    parts.push(...(chunk.candidates[0].content.parts ?? []));
  }
  const again = { model: MODEL, contents: results({ role: 'model', parts }), config: { tools } };
  for await (const chunk of await models.generateContentStream(again)) data(chunk);

  say('embedding');
  data(await models.embedContent({ model: 'gemini-embedding-001', contents: 'toll gate' }));

  say('count of tokens');
  data(await models.countTokens({ model: MODEL, contents: ASK }));

  say('refused');
  await models.generateContent({ model: `${MODEL}+400`, contents: ASK }).catch(refusal);
});
