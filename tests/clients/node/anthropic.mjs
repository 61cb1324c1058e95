// Anthropic's SDK for Node: messages, its stream helper, tools, thinking, counting and errors.

import assert from 'node:assert/strict'

import Anthropic from '@anthropic-ai/sdk'

import { all, check, main, sent, TALK } from './harness.mjs'

const client = new Anthropic({ baseURL: TALK.url, apiKey: TALK.key, maxRetries: 0, timeout: 30_000 })
const messages = [{ role: 'user', content: TALK.question }]
const tools = [{ name: TALK.tool, description: TALK.toolSays, input_schema: TALK.parameters }]
const thinking = { type: 'enabled', budget_tokens: 1024 }
const max_tokens = 2048

check('answers', async ({ claude }) => {
  const answer = await client.messages.create({ model: claude.plain, max_tokens, system: TALK.rule, messages })
  assert.deepEqual([answer.content[0].text, answer.stop_reason], [TALK.question, 'end_turn'])
  assert.deepEqual([answer.usage.input_tokens, answer.usage.output_tokens], [18, 7])
})

check('streams and gathers a message', async ({ claude }) => {
  const texts = []
  const stream = client.messages.stream({ model: claude.plain, max_tokens, messages })
  stream.on('text', (text) => texts.push(text))
  const final = await stream.finalMessage()
  assert.equal(texts.join(''), TALK.question)
  assert.equal(final.content[0].text, TALK.question)
  assert.equal(final.usage.output_tokens, 7)
})

check('streams raw events', async ({ claude }) => {
  const events = await all(await client.messages.create({ model: claude.plain, max_tokens, messages, stream: true }))
  assert.deepEqual([events[0].type, events.at(-1).type], ['message_start', 'message_stop'])
})

check('goes on after parallel calls', async ({ claude }) => {
  const first = await client.messages.stream({ model: claude['two-calls'], max_tokens, messages, tools }).finalMessage()
  const calls = first.content.filter((block) => block.type === 'tool_use')
  assert.deepEqual(calls.map((call) => call.input), [TALK.arguments, TALK.arguments])
  const content = calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: TALK.result }))
  const turns = [...messages, { role: 'assistant', content: first.content }, { role: 'user', content }]
  const second = await client.messages.create({ model: claude.plain, max_tokens, messages: turns, tools })
  assert.equal(second.content[0].text, TALK.question)
  const upstream = await sent()
  assert.deepEqual(upstream.map((turn) => turn.role), ['user', 'assistant', 'tool', 'tool'])
  assert.deepEqual(upstream[1].tool_calls.map((call) => call.id), upstream.slice(2).map((turn) => turn.tool_call_id))
})

check('runs its tools', async ({ claude }) => {
  const askedFor = []
  const runnable = { ...tools[0], run: (given) => askedFor.push(given) && TALK.result, parse: (given) => given }
  const runner = client.beta.messages.toolRunner({ model: claude.plain, max_tokens, messages, tools: [runnable] })
  const final = await runner.runUntilDone()
  assert.equal(final.content[0].text, TALK.question)
  assert.deepEqual(askedFor, [TALK.arguments])
})

check('gives signed thinking back', async ({ claude, route }) => {
  const asked = { model: claude.signed, max_tokens, messages, tools, thinking }
  const first = await client.messages.stream(asked).finalMessage()
  const thoughts = first.content.filter((block) => block.type === 'thinking').map((block) => block.thinking)
  assert.equal(thoughts.join(''), TALK.reasoning)
  const call = first.content.find((block) => block.type === 'tool_use')
  const content = [{ type: 'tool_result', tool_use_id: call.id, content: TALK.result }]
  const turns = [...messages, { role: 'assistant', content: first.content }, { role: 'user', content }]
  await client.messages.create({ ...asked, model: claude.plain, messages: turns })
  // A plain server of OpenAI's wire is not sent what Google signs, nor is Anthropic what a gateway has sealed.
  if (route === 'openai' || route === 'anthropic') return
  const signed = (await sent())[1].tool_calls[0].extra_content
  assert.deepEqual(signed, { google: { thought_signature: TALK.signature } })
})

check('counts tokens', async ({ claude }) => {
  const counted = await client.messages.countTokens({ model: claude.plain, messages, tools })
  assert.ok(counted.input_tokens > 10)
})

check('lists models', async ({ claude }) => {
  const names = (await all(client.models.list({ limit: 100 }))).map((model) => model.id)
  assert.ok(names.includes(claude.plain))
})

check('has classes for errors', async ({ claude }) => {
  const busy = client.messages.create({ model: claude.busy, max_tokens, messages })
  await assert.rejects(busy, (error) => error instanceof Anthropic.RateLimitError && Boolean(error.requestID))
  const broken = client.messages.stream({ model: claude.broken, max_tokens, messages }).finalMessage()
  await assert.rejects(broken, Anthropic.AnthropicError)
})

await main()
