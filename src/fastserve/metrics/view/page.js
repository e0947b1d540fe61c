
"use strict";

const SECONDS = 2;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

const count = (value) => value === null ? "–" : value >= 1e6 ? (value / 1e6).toFixed(1) + "M"
  : value >= 1e4 ? (value / 1e3).toFixed(1) + "k" : Number.isInteger(value) || value >= 10 ? value.toFixed(0) : value.toFixed(1);
const time = (value) => value === null || value === undefined ? "–" : value < .01 ? (value * 1e3).toFixed(1) + " ms"
  : value < 1 ? (value * 1e3).toFixed(0) + " ms" : value.toFixed(1) + " s";
const span = (value) => value < 100 ? value.toFixed(0) + " s" : value < 6000 ? (value / 60).toFixed(0) + " min"
  : value < 172800 ? (value / 3600).toFixed(0) + " h" : (value / 86400).toFixed(0) + " days";
const share = (value) => (value * 100).toFixed(0) + " %";
const size = (value) => value === null ? "–" : (value / 1048576).toFixed(0) + " MB";

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function chart(values, kind) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "chart " + kind);
  svg.setAttribute("viewBox", "0 0 119 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values, 0);
  const paths = [["M0 98 H119", "base"]];
  if (most && values.length > 1) {
    const first = 120 - values.length;
    const points = values.map((value, at) => (first + at) + " " + (98 - 94 * value / most).toFixed(1)).join(" L");
    paths.push([`M${first} 98 L${points} L119 98Z`, "area"], ["M" + points, ""]);
  }
  for (const [path, name] of paths) {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("d", path);
    line.setAttribute("class", name);
    svg.append(line);
  }
  return svg;
}

function percentile(part, counts, bounds) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  let below = 0, lower = 0;
  if (!total) return null;
  for (const [at, bound] of bounds.entries()) {
    if (counts[at] && below + counts[at] >= part * total) return lower + (bound - lower) * (part * total - below) / counts[at];
    below += counts[at];
    lower = bound;
  }
  return lower;
}

const since = (before, now, name) => Math.max(now[name] - (before ? before[name] : 0), 0);
const took = (before, now) => now.durations.map((each, at) => Math.max(each - (before ? before.durations[at] : 0), 0));

function tile(name, value, unit, values, kind) {
  const made = element("section", undefined, "card tile " + (kind || ""));
  const shown = element("p", value);
  if (unit) shown.append(" ", element("small", unit));
  made.append(element("h2", name), shown);
  if (values) made.append(chart(values, ""));
  return made;
}

function showTiles(before, now) {
  const seconds = Math.max(now.now - before.now, .001);
  const durations = took(before, now), history = now.history;
  const of = (name) => history.map((point) => point[name] || 0);
  const errors = since(before, now, "errors") / seconds;
  const accept = now.accept_queue;
  byId("tiles").replaceChildren(
    tile("Requests", count(since(before, now, "requests") / seconds), "a second", of("rate")),
    tile("Responses of 5xx", count(errors), "a second", of("errors"), errors ? "bad" : ""),
    tile("Median", time(percentile(.5, durations, now.bounds)), "", of("p50")),
    tile("99th percentile", time(percentile(.99, durations, now.bounds)), "", of("p99")),
    tile("In flight", count(now.active), "", of("active")),
    tile("Queue", count(now.queue), `and ${count(accept.length)} of ${count(accept.limit)} to be accepted`, of("queue"),
      now.queue || accept.length > accept.limit / 2 ? "warn" : ""),
  );
}

const COLUMNS = ["Worker", "State", "Age", "Requests/s", "Ten minutes", "In flight", "Waiting", "p99", "Lag", "Busy", "CPU",
  "Memory", "Idle", "WebSockets"];

function row(worker, earlier, seconds, now) {
  const made = element("tr");
  const rate = since(earlier, worker, "requests") / seconds;
  const cell = (text, kind) => made.append(element("td", text, kind));
  cell(String(worker.worker));
  cell(worker.state, worker.state === "ready" ? "" : "warn");
  cell(span(worker.age));
  cell(count(rate));
  const drawn = element("td", undefined, "left");
  drawn.append(chart(now.history.map((point) => point.workers[worker.worker] || 0), "small"));
  made.append(drawn);
  cell(count(worker.active));
  cell(count(worker.queue), worker.queue ? "warn" : "");
  cell(time(percentile(.99, took(earlier, worker), now.bounds)));
  cell(time(worker.lag), worker.lag > .1 ? "warn" : "");
  cell(share(since(earlier, worker, "busy") / seconds));
  cell(share(since(earlier, worker, "cpu") / seconds));
  cell(size(worker.rss));
  cell(count(worker.connections.idle + worker.connections.new));
  cell(count(worker.connections.websocket));
  return made;
}

function showWorkers(before, now) {
  const earlier = new Map(before.workers.map((worker) => [worker.pid, worker]));
  const seconds = Math.max(now.now - before.now, .001);
  byId("workers").replaceChildren(...now.workers.map((worker) => {
    const was = earlier.get(worker.pid);
    return row(worker, was, was ? seconds : Math.max(worker.age, .001), now);
  }));
  const ready = now.workers.filter((worker) => worker.state === "ready").length;
  byId("workers-count").textContent = `${ready} of ${now.workers.length} ready`;
}

function say(text, kind) {
  byId("status").textContent = text;
  byId("status").className = "status " + kind;
}

const seen = [];

async function read() {
  try {
    const response = await fetch("/status.json", {cache: "no-store"});
    if (!response.ok) throw new Error(String(response.status));
    const now = await response.json();
    seen.push(now);
    while (seen.length > 2 && now.now - seen[1].now >= 10) seen.shift();
    const before = seen[Math.max(seen.length - 2, 0)];
    byId("version").textContent = now.version;
    say(now.ready ? "Ready" : "Not ready", now.ready ? "good" : "bad");
    showTiles(seen[0], now);
    showWorkers(before, now);
    const end = now.last_end;
    byId("foot").textContent = `Up ${span(now.up)}. ` + (end === null ? "No worker has ended."
      : `The last worker that ended was ${end.worker} (${end.reason}), ${span(Math.max(now.now - end.at, 0))} ago.`)
      + " Charts show ten minutes; figures the last ten seconds, of workers the last two.";
    document.body.dataset.reads = String(Number(document.body.dataset.reads || 0) + 1);
  } catch (error) {
    say("No response: " + error.message, "bad");
  }
}

byId("head").append(...COLUMNS.map((name) => {
  const made = element("th", name, name === "Ten minutes" ? "left" : "");
  made.scope = "col";
  return made;
}));
(async function follow() {
  if (!document.hidden) await read();
  setTimeout(follow, SECONDS * 1000);
})();
