// What the clients print. Standard output: all that the provider answered, to be compared byte for byte between two runs.
// Standard error: the other end of each connection, which the test looks at by itself.
'use strict';

const diagnostics = require('node:diagnostics_channel');
const tls = require('node:tls');

// These belong to one hop (RFC 9110 § 7.6.1), so two ways to the provider may differ in them.
const HOP = ['connection', 'keep-alive', 'transfer-encoding'];

// Node's own fetch tells here which connections it makes.
diagnostics.subscribe('undici:client:connected', ({ socket }) => {
  console.error('peer', socket.remoteAddress, socket.remotePort);
  // A connection that the SDK has left by now has no certificate any more.
  const issuer = socket instanceof tls.TLSSocket && socket.getPeerCertificate().issuer;
  if (issuer) console.error('issuer', issuer.CN);
});

exports.say = (name) => console.log(`== ${name}`);

// A value that an SDK made of an answer, unknown fields included.
exports.data = (value) => console.log(JSON.stringify(value));

// The answer as it came: status, headers, body.
exports.raw = async (response) => {
  console.log(response.status);
  for (const [name, value] of response.headers) if (!HOP.includes(name)) console.log(`${name}: ${value}`);
  console.log(await response.text());
};

// What an SDK raised.
exports.refusal = (error) => console.log(error.constructor.name, error.status, error.message);

// Runs one client, and fails with its error.
exports.run = (main) => main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
