"use strict";
(() => {
  const base = new URL(document.body.dataset.base, location.href);
  const find = (id) => document.getElementById(id);
  const show = (element, visible = true) => { element.hidden = !visible; };

  function note(element, text, kind = "") {
    element.textContent = text;
    element.className = `note ${kind}`;
  }

  function append(log, line) {
    log.textContent += line;
    log.scrollTop = log.scrollHeight;
  }

  // Streamed response

  const TICKS = 20;
  const start = find("stream-start");
  show(start);

  start.addEventListener("click", async () => {
    const ticks = find("stream-ticks");
    const log = find("stream-log");
    ticks.replaceChildren(...Array.from({ length: TICKS }, () => document.createElement("i")));
    log.textContent = "";
    show(log);
    note(find("stream-note"), "");
    start.disabled = true;
    try {
      await readStream(ticks, log);
    } catch (error) {
      note(find("stream-note"), `The stream broke off: ${error.message}.`, "bad");
    } finally {
      start.disabled = false;
    }
  });

  async function readStream(ticks, log) {
    const began = performance.now();
    const response = await fetch(new URL("stream", base), { cache: "no-store" });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let lines = 0;
    let reads = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      reads += 1;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const line of parts) {
        const arrived = ((performance.now() - began) / 1000).toFixed(3);
        const [, number, sent] = /(\d+) of .* ([\d.]+) s/.exec(line);
        append(log, `${number.padStart(2)}  sent ${sent} s  here ${arrived} s\n`);
        ticks.children[lines]?.classList.add("on");
        lines += 1;
      }
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    note(find("stream-note"), `${lines} lines in ${reads} pieces over ${seconds} s.`, "good");
  }

  // Upload

  const VERIFY_LIMIT = 64 * 1024 * 1024;
  const form = find("upload-form");
  const file = find("upload-file");
  const drop = form.querySelector(".drop");
  const progress = find("upload-progress");

  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const type of ["dragleave", "drop"]) {
    drop.addEventListener(type, () => drop.classList.remove("over"));
  }
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    file.files = event.dataTransfer.files;
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const outcome = find("upload-note");
    button.disabled = true;
    progress.value = 0;
    show(progress);
    show(find("upload-result"), false);
    note(outcome, "");
    try {
      const report = await send(new FormData(form));
      showReport(report);
      const own = await digest(file.files[0]);
      if (own === report.sha256) note(outcome, "Your browser computes the same digest.", "good");
      else if (own) note(outcome, `Your browser computes another digest: ${own}`, "bad");
    } catch (error) {
      note(outcome, error.message, "bad");
    } finally {
      button.disabled = false;
      show(progress, false);
    }
  });

  // fetch() cannot tell how much of a body it has sent; XMLHttpRequest can.
  function send(data) {
    return new Promise((resolve, reject) => {
      const call = new XMLHttpRequest();
      call.open("POST", form.action);
      call.setRequestHeader("accept", "application/json");
      call.upload.onprogress = (event) => {
        if (event.lengthComputable) progress.value = event.loaded / event.total;
      };
      call.onerror = () => reject(new Error("The connection broke off."));
      call.onload = () => {
        if (call.status === 200) resolve(JSON.parse(call.responseText));
        else reject(new Error(call.responseText || `The server answered ${call.status}.`));
      };
      call.send(data);
    });
  }

  function showReport(report) {
    const megabytes = report.seconds > 0 ? ` (${(report.size / 1e6 / report.seconds).toFixed(0)} MB/s)` : "";
    const rows = {
      "file": report.filename,
      "size": `${report.size.toLocaleString("en")} bytes`,
      "sha256": report.sha256,
      "arrived": `in ${report.seconds} s, ${report.pieces} pieces${megabytes}`,
    };
    find("upload-result").tBodies[0].replaceChildren(...Object.entries(rows).map(([name, value]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head, Object.assign(document.createElement("td"), { textContent: value }));
      return row;
    }));
    show(find("upload-result"));
  }

  // The browser offers its digests on safe origins alone, and wants the whole file in memory for them.
  async function digest(chosen) {
    if (!globalThis.crypto?.subtle || chosen.size > VERIFY_LIMIT) return null;
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await chosen.arrayBuffer()));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // WebSocket

  const status = find("ws-status");
  const wsForm = find("ws-form");
  const wsText = find("ws-text");
  const wsLog = find("ws-log");
  const retry = find("ws-retry");
  let socket = null;
  let sent = [];

  function tell(state, text) {
    status.dataset.state = state;
    status.textContent = text;
    show(wsForm, state === "open");
    show(retry, state === "absent" || state === "closed" || state === "failed");
  }

  function connect() {
    let opened = false;
    sent = [];
    tell("connecting", "Connecting");
    const address = new URL("echo", base);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    socket.onopen = () => {
      opened = true;
      tell("open", "Connected");
    };
    socket.onmessage = (event) => {
      append(wsLog, `${event.data}  (${(performance.now() - sent.shift()).toFixed(1)} ms)\n`);
    };
    socket.onclose = (event) => {
      if (opened) tell("closed", `Closed, code ${event.code}`);
      else explain();
    };
  }

  // A refused handshake tells a script nothing; asking the same address by HTTP tells whether anybody is there.
  async function explain() {
    try {
      const response = await fetch(new URL("echo", base), { cache: "no-store" });
      if (response.status === 426) tell("absent", "Not there yet: this server does not upgrade to WebSocket.");
      else tell("failed", `The server refused the WebSocket (${response.status}).`);
    } catch {
      tell("failed", "The server cannot be reached.");
    }
  }

  // Shared room

  const ACKS = 50; // windows that say when they have got a message
  const LINES = 200;
  const roomForm = find("room-form");
  const roomText = find("room-text");
  const roomLog = find("room-log");
  const windows = new Map(); // by their ids, each with its worker
  const mine = new Map(); // messages of this window by their keys: when sent, who has got it, the line
  const own = sessionStorage.getItem("window") ?? newId();
  sessionStorage.setItem("window", own); // so that a window that loads the page again is the same
  let room = null;
  let since = "";
  let ownWorker = 0;
  let pause = 500;

  function newId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function roomAddress() {
    const address = new URL("room", base);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams({ window: own, since });
    return address;
  }

  function tellRoom(state, text) {
    find("room-status").dataset.state = state;
    find("room-status").textContent = text;
    show(roomForm, state === "open");
    show(find("room-retry"), state === "closed");
  }

  function enter() {
    tellRoom("connecting", "Connecting");
    room = new WebSocket(roomAddress());
    room.onmessage = (event) => hear(JSON.parse(event.data));
    room.onclose = () => {
      windows.clear();
      showWindows();
      tellRoom("closed", "Not connected");
      setTimeout(() => { if (room.readyState === WebSocket.CLOSED) enter(); }, pause);
      pause = Math.min(pause * 2, 30000);
    };
  }

  function hear(told) {
    if (told.members) {
      pause = 500;
      ownWorker = told.pid;
      for (const [id, info] of Object.entries(told.members)) windows.set(id, info.pid);
      tellRoom("open", `Connected to worker ${told.pid}`);
    } else if (told.joined) windows.set(told.joined, told.info.pid);
    else if (told.left) windows.delete(told.left);
    else if (told.topic === "demo-room") {
      since = told.id ?? since;
      said(JSON.parse(told.data));
      return;
    } else {
      got(JSON.parse(told.data));
      return;
    }
    showWindows();
  }

  function dot(id) {
    const made = document.createElement("i");
    made.className = "dot";
    made.style.setProperty("background", `hsl(${(parseInt(id, 16) * 137.5) % 360} 60% 50%)`);
    return made;
  }

  function nameOf(id) {
    return id === own ? "this window" : `window ${id.slice(0, 4)}`;
  }

  function showWindows() {
    const ids = [...windows.keys()].sort((one, other) => (other === own) - (one === own) || (one < other ? -1 : 1));
    find("room-windows").replaceChildren(...ids.map((id) => {
      const item = document.createElement("li");
      item.className = id === own ? "own" : "";
      item.append(dot(id), nameOf(id), Object.assign(document.createElement("small"), { textContent: windows.get(id) }));
      item.title = `Connected to worker ${windows.get(id)}`;
      return item;
    }));
    find("room-count").textContent = ids.length;
    show(find("room-count"), ids.length > 0);
  }

  function said(message) {
    const sentHere = mine.get(message.key);
    const item = document.createElement("li");
    const text = Object.assign(document.createElement("span"), { textContent: message.text });
    const how = document.createElement("small");
    item.append(dot(message.from), text, how);
    item.title = nameOf(message.from);
    roomLog.append(item);
    while (roomLog.children.length > LINES) roomLog.firstChild.remove();
    roomLog.scrollTop = roomLog.scrollHeight;
    if (sentHere) {
      sentHere.item = item;
      got({ got: message.key, by: own });
    } else {
      how.textContent = message.pid === ownWorker ? nameOf(message.from) : `${nameOf(message.from)}, worker ${message.pid}`;
      if (windows.has(message.from) && windows.size <= ACKS) room.send(JSON.stringify({ to: message.from, key: message.key }));
    }
  }

  function got({ got: key, by }) {
    const message = mine.get(key);
    if (!message) return;
    message.by.add(by);
    message.last = performance.now() - message.sent;
    if (!message.item) return; // others were faster than this window
    message.item.classList.toggle("all", message.by.size >= message.of);
    message.item.lastChild.textContent = `${message.by.size} of ${message.of} windows, ${message.last.toFixed(1)} ms`;
  }

  roomForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (room.readyState !== WebSocket.OPEN || !roomText.value) return;
    const key = `${own}-${newId()}`;
    mine.set(key, { sent: performance.now(), by: new Set(), of: windows.size, item: null, last: 0 });
    room.send(JSON.stringify({ key, text: roomText.value }));
    roomText.select();
  });
  find("room-retry").addEventListener("click", () => { if (room.readyState === WebSocket.CLOSED) enter(); });
  enter();

  wsForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket.readyState !== WebSocket.OPEN) return;
    show(wsLog);
    sent.push(performance.now());
    socket.send(wsText.value);
    wsText.select();
  });
  retry.addEventListener("click", connect);
  connect();
})();
