// The real Cedar engine (Rust, as WebAssembly) behind the REST form of Cedar Agent, for tests:
//
//   KEST_CEDAR_AGENT=DIR node server.mjs POLICIES [KEY]
//
// DIR holds node_modules. POLICIES is a directory; all its *.cedar files, at any depth, are one policy set, as in the
// agent. With KEY a request needs exactly that Authorization header. The first line of output is the address.
//
// Like the agent, it reads entity UIDs by the engine and accepts only their normal form, knows no entities but those
// of the request, and answers 400 to what the engine cannot read. Unlike the agent, it answers 400 to integers beyond
// 2^53 too: JSON.parse would round them.
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';

// With inlined calls into the engine, Node 20 crashes after some 100,000 of them.
setFlagsFromString('--no-turbo-inline-js-wasm-calls');

const [directory, key] = process.argv.slice(2);
const cedar = createRequire(join(process.env.KEST_CEDAR_AGENT, '/'))('@cedar-policy/cedar-wasm/nodejs');

const must = (answer) => {
  if (answer.type !== 'success') throw new Error(answer.errors.map((e) => e.message).join('; '));
  return answer;
};

const text = readdirSync(directory, { recursive: true })
  .filter((name) => name.endsWith('.cedar')).sort()
  .map((name) => readFileSync(join(directory, name), 'utf8')).join('\n');
const parts = must(cedar.policySetTextToParts(text));
const staticPolicies = Object.fromEntries(parts.policies.map((policy, i) => [`policy${i}`, policy]));
must(cedar.preparsePolicySet('all', { staticPolicies }));

// The engine reads UIDs as a part of policies only. What it prints for the policy must be what it was given, so the
// UID was nothing but a UID, in the form that its EntityUid::from_str demands.
function parseUid(uid) {
  const policy = `permit(principal == ${uid}, action, resource);`;
  const { json } = must(cedar.policyToJson(policy));
  if (must(cedar.policyToText(json)).text !== policy || !json.principal.entity || json.conditions.length > 0) {
    throw new Error('the entity UID is not in its normal form');
  }
  return json.principal.entity;
}

function exactly(_, value) {
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw new Error('this server cannot read such an integer');
  return value;
}

function isAuthorized(body) {
  const { principal, action, resource, context } = JSON.parse(body, exactly);
  const { response } = must(cedar.statefulIsAuthorized({
    principal: parseUid(principal), action: parseUid(action), resource: parseUid(resource),
    context, preparsedPolicySetId: 'all', entities: [],
  }));
  const { reason, errors } = response.diagnostics;
  return {
    decision: response.decision === 'allow' ? 'Allow' : 'Deny',
    diagnostics: { reason, errors: errors.map(({ policyId, error }) => `${policyId}: ${error.message}`) },
  };
}

function reply(response, code, document) {
  const body = JSON.stringify(document);
  response.writeHead(code, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }).end(body);
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (key !== undefined && request.headers.authorization !== key) return reply(response, 401, { code: 401 });
  if (request.method !== 'POST' || request.url !== '/v1/is_authorized') return reply(response, 404, { code: 404 });
  try {
    reply(response, 200, isAuthorized(Buffer.concat(chunks).toString()));
  } catch (error) {
    reply(response, 400, { reason: 'bad request', description: String(error.message), code: 400 });
  }
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/v1`));
