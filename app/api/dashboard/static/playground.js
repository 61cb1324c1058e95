// Asks the gateway and shows its answer as it comes. What a model says is only ever set as text.
"use strict";
(() => {
  const form = document.getElementById("playground");
  const answer = document.getElementById("answer");
  const facts = document.getElementById("facts");
  const send = document.getElementById("send");
  const stop = document.getElementById("stop");
  let asked = null;

  function question(fields) {
    const messages = [{ role: "user", content: fields.get("message") }];
    if (fields.get("system").trim()) messages.unshift({ role: "system", content: fields.get("system") });
    const model = fields.get("other").trim() || fields.get("model");
    return { model, messages, stream: true, stream_options: { include_usage: true } };
  }

  function* events(text) {
    for (const block of text.split("\n\n")) {
      for (const line of block.split("\n")) {
        if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
      }
    }
  }

  function take(event) {
    if (event.error) throw new Error(event.error.message);
    const said = event.choices?.[0]?.delta?.content;
    if (said) answer.append(said);
    return event.usage;
  }

  async function read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", usage = null;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return usage;
      rest += value;
      const end = rest.lastIndexOf("\n\n");
      if (end < 0) continue;
      for (const event of events(rest.slice(0, end))) usage = take(event) || usage;
      rest = rest.slice(end + 2);
    }
  }

  async function ask(fields, signal) {
    const started = performance.now();
    const reply = await fetch(form.dataset.gateway + "/v1/chat/completions", {
      method: "POST", signal, credentials: "omit", referrerPolicy: "no-referrer",
      headers: { authorization: "Bearer " + fields.get("key").trim(), "content-type": "application/json" },
      body: JSON.stringify(question(fields)),
    });
    if (!reply.ok) {
      const problem = await reply.json().catch(() => ({}));
      throw new Error(problem.error?.message || "The gateway answered " + reply.status + ".");
    }
    const usage = await read(reply.body);
    const parts = [Math.round(performance.now() - started) + " ms"];
    if (usage) parts.push(usage.prompt_tokens + " tokens in, " + usage.completion_tokens + " out");
    for (const name of ["provider", "cache"]) {
      const said = reply.headers.get("x-gateway-" + name);
      if (said) parts.push(name + ": " + said);
    }
    facts.textContent = parts.join(" · ");
    const id = reply.headers.get("x-request-id");
    if (!id) return;
    const link = document.createElement("a");
    link.href = "/requests/" + encodeURIComponent(id);
    link.textContent = "what became of it";
    facts.append(" · ", link);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    asked = new AbortController();
    answer.replaceChildren();
    facts.textContent = "";
    send.disabled = true;
    stop.disabled = false;
    try {
      await ask(new FormData(form), asked.signal);
    } catch (error) {
      facts.textContent = error.name === "AbortError" ? "Stopped." : error.message;
    } finally {
      send.disabled = false;
      stop.disabled = true;
    }
  });
  stop.addEventListener("click", () => asked?.abort());
})();
