// The AI SDK of Vercel over its providers of OpenAI (Responses and chat completions), Anthropic and Google.

import assert from 'node:assert/strict'

import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogleGenerativeAI } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai'
import { z } from 'zod'

import { all, check, main, sent, TALK } from './harness.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false
const apiKey = TALK.key
const openai = createOpenAI({ baseURL: `${TALK.url}/v1`, apiKey })
const anthropic = createAnthropic({ baseURL: `${TALK.url}/v1`, apiKey })
const google = createGoogleGenerativeAI({ baseURL: `${TALK.url}/v1beta`, apiKey })
const dialects = {
  responses: (models, kind) => openai(models.gpt[kind]),
  chat: (models, kind) => openai.chat(models.gpt[kind]),
  anthropic: (models, kind) => anthropic(models.claude[kind]),
  google: (models, kind) => google(models.gemini[kind]),
}
const thinking = {
  openai: { reasoningEffort: 'low', reasoningSummary: 'auto' },
  anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } },
  google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } },
}
const schema = z.object({ place: z.string(), degrees: z.number(), is_dry: z.boolean(), hours: z.array(z.int()) })
const once = { maxRetries: 0 }

function weather(askedFor) {
  return tool({
    description: TALK.toolSays,
    inputSchema: z.object({ city: z.string() }),
    execute: async (given) => askedFor.push(given) && TALK.result,
  })
}

function checkAll(name, run, cases = Object.keys(dialects)) {
  check(name, (models, dialect) => run((kind) => dialects[dialect](models, kind), dialect, models), cases)
}

checkAll('generates text', async (model) => {
  const answer = await generateText({ model: model('plain'), system: TALK.rule, prompt: TALK.question, ...once })
  assert.deepEqual([answer.text, answer.finishReason], [TALK.question, 'stop'])
  assert.deepEqual([answer.usage.inputTokens, answer.usage.outputTokens], [18, 7])
})

checkAll('streams text', async (model) => {
  const answer = streamText({ model: model('plain'), system: TALK.rule, prompt: TALK.question, ...once })
  const parts = await all(answer.textStream)
  assert.equal(parts.join(''), TALK.question)
  assert.ok(parts.length > 2)
  assert.deepEqual([await answer.finishReason, (await answer.usage).totalTokens], ['stop', 25])
})

checkAll('runs its tools in several steps', async (model) => {
  const askedFor = []
  const tools = { [TALK.tool]: weather(askedFor) }
  const answer = await generateText({
    model: model('plain'),
    prompt: TALK.question,
    tools,
    stopWhen: stepCountIs(4),
    ...once,
  })
  assert.equal(answer.text, TALK.question)
  assert.deepEqual(askedFor, [TALK.arguments])
  assert.equal(answer.steps.length, 2)
  const turns = await sent()
  assert.deepEqual(turns.slice(-3).map((turn) => turn.role), ['user', 'assistant', 'tool'])
  assert.equal(turns.at(-1).tool_call_id, turns.at(-2).tool_calls[0].id)
  assert.ok(turns.at(-1).content.includes(TALK.result))
})

checkAll('streams its tools, signed, in several steps', async (model, dialect, { route }) => {
  const askedFor = []
  const answer = streamText({
    model: model('signed'),
    prompt: TALK.question,
    tools: { [TALK.tool]: weather(askedFor) },
    stopWhen: stepCountIs(4),
    providerOptions: thinking,
    onError: () => {},
    ...once,
  })
  assert.equal((await all(answer.textStream)).join(''), TALK.question)
  assert.deepEqual(askedFor, [TALK.arguments])
  // The chat provider keeps no signatures; OpenAI's wire and Anthropic's are not sent Google's by a gateway in front.
  if (dialect === 'chat' || !['gemini', 'native'].includes(route)) return
  const signed = (await sent()).at(-2).tool_calls[0].extra_content
  assert.deepEqual(signed, { google: { thought_signature: TALK.signature } })
})

checkAll('calls tools in parallel', async (model) => {
  const { execute, ...declared } = weather([])
  const answer = await generateText({
    model: model('two-calls'),
    prompt: TALK.question,
    tools: { [TALK.tool]: declared },
    ...once,
  })
  assert.deepEqual(answer.toolCalls.map((call) => call.input), [TALK.arguments, TALK.arguments])
  assert.equal(new Set(answer.toolCalls.map((call) => call.toolCallId)).size, 2)
})

checkAll('shows reasoning', async (model, dialect) => {
  const answer = await generateText({
    model: model('thinking'),
    prompt: TALK.question,
    providerOptions: thinking,
    ...once,
  })
  assert.equal(answer.text, TALK.question)
  if (dialect !== 'chat') assert.equal(answer.reasoningText, TALK.reasoning)
})

checkAll('goes on with what was answered', async (model) => {
  const first = await generateText({
    model: model('thinking'),
    prompt: TALK.question,
    providerOptions: thinking,
    ...once,
  })
  const messages = [
    { role: 'user', content: TALK.question },
    ...first.response.messages,
    { role: 'user', content: 'And tomorrow?' },
  ]
  const second = await generateText({ model: model('plain'), messages, providerOptions: thinking, ...once })
  assert.equal(second.text, 'And tomorrow?')
  assert.deepEqual((await sent()).map((turn) => turn.role), ['user', 'assistant', 'user'])
})

checkAll('generates objects', async (model) => {
  const whole = await generateObject({ model: model('plain'), schema, prompt: TALK.question, ...once })
  assert.deepEqual(whole.object, TALK.forecast)
  const stream = streamObject({ model: model('plain'), schema, prompt: TALK.question, onError: () => {}, ...once })
  assert.deepEqual((await all(stream.partialObjectStream)).at(-1), TALK.forecast)
  assert.deepEqual(await stream.object, TALK.forecast)
})

checkAll('shows images', async (model) => {
  const content = [
    { type: 'text', text: TALK.question },
    { type: 'image', image: Buffer.from(TALK.png, 'base64'), mediaType: 'image/png' },
  ]
  await generateText({ model: model('plain'), messages: [{ role: 'user', content }], ...once })
  const urls = (await sent())[0].content.filter((part) => part.type === 'image_url').map((part) => part.image_url.url)
  assert.deepEqual(urls, [`data:image/png;base64,${TALK.png}`])
})

checkAll('tells errors', async (model) => {
  const busy = generateText({ model: model('busy'), prompt: TALK.question, ...once })
  await assert.rejects(busy, (error) => error.statusCode === 429 && error.isRetryable)
  const seen = []
  const broken = streamText({ model: model('broken'), prompt: TALK.question, onError: ({ error }) => seen.push(error), ...once })
  await all(broken.textStream)
  assert.notEqual(seen.length, 0)
})

check('embeds', async ({ route }) => {
  const name = TALK.embeddings[route]
  if (name === undefined) return
  const answer = await embedMany({ model: openai.textEmbeddingModel(name), values: ['first', 'second'], ...once })
  assert.equal(answer.embeddings.length, 2)
})

await main()
