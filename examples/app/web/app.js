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
      await client.mutation(documents.add, { title: byId("title").value, text: byId("text").value });
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
    element("ol", { className: "steps", ariaLabel: "Steps of the workflow" }, ...row.steps.map(stepItem)),
  );
  if (row.analysis?.frequent.length) {
    const words = row.analysis.frequent.map(({ word, count }) => element("li", {}, `${word} ${count}`));
    card.append(element("ul", { className: "words", ariaLabel: "Frequent words" }, ...words));
  }
  return card;
}

function facts(row) {
  const { analysis } = row;
  if (!analysis) return `${row.characters.toLocaleString()} characters`;
  const minutes = Math.max(1, Math.round(analysis.readingSeconds / 60));
  return [
    `${analysis.words.toLocaleString()} words`,
    `${analysis.sentences.toLocaleString()} sentences`,
    `${minutes} min`,
    analysis.language,
    `indexed ${row.timesIndexed}×`,
  ].join(" · ");
}

function stepItem(step) {
  const item = element("li", {}, step.name.split(":").at(-1));
  item.dataset.done = step.isDone;
  item.append(element("span", { className: "for-readers" }, step.isDone ? ", done" : ", running"));
  return item;
}

function drawHits(word, hits) {
  const lines = hits.map(({ title, count }) => element("li", {}, `${title} (${count}×)`));
  byId("hits").replaceChildren(...(lines.length ? lines : [element("li", { className: "quiet" }, `No document has “${word}”.`)]));
}

function showProblem(error) {
  byId("problem").textContent = error ? (error.data?.message ?? error.message) : "";
}

start();
