// OpenAI's SDK for Node: chat completions and Responses, its stream helpers, tools and structured output.

import assert from 'node:assert/strict'

import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'

import { all, check, main, sent, TALK } from './harness.mjs'

const client = new OpenAI({ baseURL: `${TALK.url}/v1`, apiKey: TALK.key, maxRetries: 0, timeout: 30_000 })
const asked = [{ role: 'user', content: TALK.question }]
const described = { name: TALK.tool, description: TALK.toolSays, parameters: TALK.parameters }
const chatTool = { type: 'function', function: described }
const tool = { type: 'function', strict: false, ...described }
const Forecast = z.object({ place: z.string(), degrees: z.number(), is_dry: z.boolean(), hours: z.array(z.int()) })

check('answers a chat', async ({ gpt }) => {
  const messages = [{ role: 'developer', content: TALK.rule }, ...asked]
  const answer = await client.chat.completions.create({ model: gpt.plain, messages })
  assert.equal(answer.choices[0].message.content, TALK.question)
  assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [18, 7])
})

check('streams a chat', async ({ gpt }) => {
  const stream = client.chat.completions.stream({
    model: gpt.plain,
    messages: asked,
    stream_options: { include_usage: true },
  })
  const deltas = []
  stream.on('content', (delta) => deltas.push(delta))
  const final = await stream.finalChatCompletion()
  assert.equal(deltas.join(''), TALK.question)
  assert.equal(final.choices[0].message.content, TALK.question)
  assert.equal(final.usage.completion_tokens, 7)
})

check('goes on after parallel calls', async ({ gpt }) => {
  const first = await client.chat.completions
    .stream({ model: gpt['two-calls'], messages: asked, tools: [chatTool] })
    .finalMessage()
  assert.deepEqual(first.tool_calls.map((call) => JSON.parse(call.function.arguments)), [TALK.arguments, TALK.arguments])
  const results = first.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: TALK.result }))
  const messages = [...asked, first, ...results]
  const second = await client.chat.completions.create({ model: gpt.plain, messages, tools: [chatTool] })
  assert.equal(second.choices[0].message.content, TALK.question)
  const turns = await sent()
  assert.deepEqual(turns.map((turn) => turn.role), ['user', 'assistant', 'tool', 'tool'])
  assert.deepEqual(turns[1].tool_calls.map((call) => call.id), turns.slice(2).map((turn) => turn.tool_call_id))
})

check('runs its tools', async ({ gpt }) => {
  const askedFor = []
  const run = (given) => askedFor.push(given) && TALK.result
  const runnable = { type: 'function', function: { ...described, function: run, parse: JSON.parse } }
  const runner = client.chat.completions.runTools({ model: gpt.plain, messages: asked, tools: [runnable] })
  assert.equal(await runner.finalContent(), TALK.question)
  assert.deepEqual(askedFor, [TALK.arguments])
})

check('parses structured output', async ({ gpt }) => {
  const response_format = zodResponseFormat(Forecast, 'forecast')
  const answer = await client.chat.completions.parse({ model: gpt.plain, messages: asked, response_format })
  assert.deepEqual(answer.choices[0].message.parsed, TALK.forecast)
})

check('answers and goes on from a stored response', async ({ gpt }) => {
  const first = await client.responses.create({ model: gpt.plain, instructions: TALK.rule, input: TALK.question, tools: [tool] })
  const call = first.output.find((item) => item.type === 'function_call')
  assert.deepEqual(JSON.parse(call.arguments), TALK.arguments)
  const result = { type: 'function_call_output', call_id: call.call_id, output: TALK.result }
  const second = await client.responses.create({
    model: gpt.plain,
    input: [result],
    previous_response_id: first.id,
    tools: [tool],
  })
  assert.equal(second.output_text, TALK.question)
  assert.deepEqual((await sent()).map((turn) => turn.role), ['user', 'assistant', 'tool'])
  assert.equal((await client.responses.retrieve(second.id)).id, second.id)
  await client.responses.delete(second.id)
})

check('streams a response', async ({ gpt }) => {
  const stream = client.responses.stream({ model: gpt.thinking, input: TALK.question, reasoning: { effort: 'low' } })
  const events = await all(stream)
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, at) => at))
  const said = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta)
  assert.equal(said.join(''), TALK.question)
  const final = await stream.finalResponse()
  const summaries = final.output.filter((item) => item.type === 'reasoning').flatMap((item) => item.summary)
  assert.equal(summaries.map((part) => part.text).join(''), TALK.reasoning)
})

check('parses a structured response', async ({ gpt }) => {
  const text = { format: zodTextFormat(Forecast, 'forecast') }
  const answer = await client.responses.parse({ model: gpt.plain, input: TALK.question, text })
  assert.deepEqual(answer.output_parsed, TALK.forecast)
})

check('has classes for errors', async ({ gpt }) => {
  const busy = client.chat.completions.create({ model: gpt.busy, messages: asked })
  await assert.rejects(busy, (error) => error instanceof OpenAI.RateLimitError && error.status === 429)
  const broken = client.responses.stream({ model: gpt.broken, input: TALK.question })
  await assert.rejects(all(broken), OpenAI.OpenAIError)
})

check('embeds and lists models', async ({ route }) => {
  const names = (await all(client.models.list())).map((model) => model.id)
  assert.ok(names.includes('echo'))
  const model = TALK.embeddings[route]
  if (model === undefined) return
  const answer = await client.embeddings.create({ model, input: ['first', 'second'] })
  assert.deepEqual(answer.data.map((item) => item.index), [0, 1])
  assert.ok(answer.data[0].embedding.every(Number.isFinite))
})

await main()
