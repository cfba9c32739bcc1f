// The page of the reading room. All state is the server's: queries are subscribed, and drawn again when they change.
"use strict";

const byId = (id) => document.getElementById(id);

function start() {
  if (typeof convex === "undefined") {
    byId("problem").textContent = "The browser client is missing: run `make page`, then reload.";
    return;
  }
  const client = new convex.ConvexClient(apiUrl());
  const { documents } = convex.anyApi;

  client.onUpdate(documents.recent, {}, drawDocuments, showProblem);
  client.subscribeToConnectionState(drawConnection);

  byId("add").addEventListener("submit", async (event) => {
    event.preventDefault();
    showProblem(null);
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      await client.mutation(documents.add, {
        title: byId("title").value,
        text: byId("text").value,
        needsApproval: byId("needs-approval").checked,
      });
      event.target.reset();
    } catch (error) {
      showProblem(error);
    } finally {
      button.disabled = false;
    }
  });

  byId("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    byId("text").value = await file.text();
    byId("title").value ||= file.name;
  });

  // The cards are drawn again and again, so their buttons are listened to from above.
  byId("documents").addEventListener("click", async ({ target }) => {
    if (!target.dataset.answer) return;
    showProblem(null);
    target.disabled = true;
    try {
      const document = target.closest("[data-document]").dataset.document;
      await client.mutation(documents.answer, { document, isApproved: target.dataset.answer === "approve" });
    } catch (error) {
      showProblem(error);
    }
  });

  let stopSearch = () => {};
  byId("word").addEventListener("input", (event) => {
    stopSearch();
    const word = event.target.value.trim();
    byId("hits").replaceChildren();
    stopSearch = word ? client.onUpdate(documents.search, { word }, (hits) => drawHits(word, hits), showProblem) : () => {};
  });
  byId("look-up").addEventListener("submit", (event) => event.preventDefault());
}

// The API listens one port below the site; `?api=http://host:port` says otherwise.
function apiUrl() {
  const given = new URLSearchParams(location.search).get("api");
  return given ?? `${location.protocol}//${location.hostname}:${Number(location.port) - 1}`;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function drawConnection({ isWebSocketConnected, hasEverConnected }) {
  const state = isWebSocketConnected ? "live" : hasEverConnected ? "reconnecting" : "connecting";
  byId("connection").dataset.state = state;
  byId("connection").textContent = state;
}

function drawDocuments(rows) {
  byId("empty").hidden = rows.length > 0;
  byId("documents").replaceChildren(...rows.map(documentCard));
}

const WORKFLOW_LABELS = { inProgress: "reading", completed: "read", failed: "failed", canceled: "canceled", stuck: "stuck" };

function documentCard(row) {
  const card = element("li", { className: "card" });
  card.dataset.document = row._id;
  card.dataset.workflow = row.workflow;
  card.append(
    element(
      "h3",
      {},
      row.title,
      " ",
      element("span", { className: "badge" }, WORKFLOW_LABELS[row.workflow] ?? row.workflow),
    ),
    element("p", { className: "quiet" }, facts(row)),
    timeline(row.steps, span(row.steps)),
  );
  if (row.needsAnswer) {
    card.append(
      element("div", { className: "answers" }, answerButton("approve", "Put it on the shelves"), answerButton("refuse", "Set it aside")),
    );
  }
  if (row.analysis?.frequent.length) {
    const words = row.analysis.frequent.map(({ word, count }) => element("li", {}, `${word} ${count}`));
    card.append(element("ul", { className: "words", ariaLabel: "Frequent words" }, ...words));
  }
  return card;
}

function facts(row) {
  const { analysis } = row;
  if (!analysis) return [`${row.characters.toLocaleString()} characters`, row.mark, row.outcome].filter(Boolean).join(" · ");
  const minutes = Math.max(1, Math.round(analysis.readingSeconds / 60));
  return [
    `${analysis.words.toLocaleString()} words`,
    `${analysis.sentences.toLocaleString()} sentences`,
    `${minutes} min`,
    analysis.language,
    `indexed ${row.timesIndexed}×`,
    row.mark,
  ].join(" · ");
}

function answerButton(answer, text) {
  const button = element("button", { type: "button" }, text);
  button.dataset.answer = answer;
  return button;
}

// From the first step's begin to the last end that is known: what the bars are drawn over.
function span(steps) {
  const all = steps.flatMap((step) => [step, ...step.steps]);
  const begin = Math.min(...all.map((step) => step.startedAt));
  return { begin, length: Math.max(1, ...all.map((step) => (step.completedAt ?? step.startedAt) - begin)) };
}

function timeline(steps, over) {
  return element("ol", { className: "steps", ariaLabel: "Steps of the workflow" }, ...steps.map((step) => stepItem(step, over)));
}

const RESULT_LABELS = { success: "done", failed: "failed", canceled: "given up" };

function stepItem(step, over) {
  const state = step.isDone ? RESULT_LABELS[step.result] : step.kind === "event" ? "waiting" : "running";
  const tries = step.failedAttempts > 0 ? `, attempt ${step.failedAttempts + 1}` : "";
  const item = element(
    "li",
    { title: step.log.join("\n") },
    element("span", { className: "name" }, step.name.split(":").at(-1)),
    element("span", { className: "quiet" }, `${step.kind}, ${state}${tries}`),
    bar(step, over),
  );
  item.dataset.done = step.isDone;
  item.dataset.state = state;
  item.dataset.kind = step.kind;
  if (step.steps.length) item.append(timeline(step.steps, over));
  return item;
}

// A step that is not done reaches to the right edge.
function bar(step, { begin, length }) {
  const percent = (instant) => (100 * (instant - begin)) / length;
  const made = element("span", { className: "bar" });
  const track = element("span", { className: "track" }, made);
  const left = Math.min(percent(step.startedAt), 99);
  made.style.marginLeft = `${left}%`;
  made.style.width = `${Math.max(1, (step.isDone ? percent(step.completedAt) : 100) - left)}%`;
  return track;
}

function drawHits(word, hits) {
  const lines = hits.map(({ title, count }) => element("li", {}, `${title} (${count}×)`));
  byId("hits").replaceChildren(...(lines.length ? lines : [element("li", { className: "quiet" }, `No document has “${word}”.`)]));
}

function showProblem(error) {
  byId("problem").textContent = error ? (error.data?.message ?? error.message) : "";
}

start();
