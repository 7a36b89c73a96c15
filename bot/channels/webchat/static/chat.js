// Keeps the chat alive: sends what is written (also later, when there is no network), shows what comes, and stays out of
// the way otherwise. Lines from the station arrive as the HTML our own server rendered and escaped.
(function () {
  "use strict";

  const WAITING = "officer-chat-waiting"; // what is written and not yet stored by the station
  const RETRY_MS = [1500, 4000, 10000, 30000];
  const SEND_MS = 15000;
  const PICTURE_BYTES = 1900000; // below the station's 2 MB
  const PICTURE_PIXELS = 5000000;
  const TYPING_MS = 6000;
  const NEAR_PIXELS = 120; // this close to the end the reader is "at the newest"

  const page = document.body;
  const say = JSON.parse(page.dataset.texts);
  const most = Number(page.dataset.most);
  const find = (id) => document.getElementById(id);
  const lines = find("lines"), scroller = find("scroller"), typing = find("typing"), jump = find("jump");
  const composer = find("composer"), input = find("text"), note = find("note"), preview = find("preview");
  const plainTitle = document.title, jumpLabel = jump.textContent;
  const older = new URLSearchParams(location.search).has("before"); // reading an old page: nothing live belongs below it
  let owned = !find("owner").hidden;
  let unread = 0;

  function fresh() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function make(name, className, text) {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  }

  // -- where the reader is -------------------------------------------------------------------------------------------

  function atNewest() { return scroller.scrollTop > -NEAR_PIXELS; } // the list is reversed: 0 is its end
  function toNewest() { scroller.scrollTop = 0; }

  function toNew(line) { // a long answer is read from its beginning
    toNewest();
    if (!line || line.dataset.author === "resident" || line.offsetHeight <= scroller.clientHeight - 40) return;
    jump.hidden = false; // it takes its room first, or it would push the beginning out of sight
    line.scrollIntoView({ block: "start" });
  }

  function countUnread() {
    if (atNewest() && !document.hidden) unread = 0;
    jump.hidden = atNewest();
    jump.textContent = unread ? say.unread.replace("{n}", unread) : jumpLabel;
    document.title = unread ? "(" + unread + ") " + plainTitle : plainTitle;
  }

  scroller.addEventListener("scroll", countUnread, { passive: true });
  jump.addEventListener("click", () => { toNewest(); countUnread(); input.focus({ preventScroll: true }); });

  // -- lines ---------------------------------------------------------------------------------------------------------

  function newestId() {
    const known = lines.querySelectorAll("li[data-id]");
    return known.length ? Number(known[known.length - 1].dataset.id) : 0;
  }

  function element(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }

  function pendingOf(key) {
    return Array.from(lines.querySelectorAll("li.pending")).find((line) => line.dataset.key === key);
  }

  function place(line) { // by its number; what is still being sent stays last
    let before = lines.lastElementChild;
    while (before && (before.classList.contains("pending") || Number(before.dataset.id || 0) > Number(line.dataset.id))) {
      before = before.previousElementSibling;
    }
    if (before) before.after(line); else lines.prepend(line);
    let above = line.previousElementSibling;
    while (above && !above.dataset.day) above = above.previousElementSibling;
    if (!above || above.dataset.day !== line.dataset.day) line.before(dayMark(line));
  }

  function dayMark(line) {
    const mark = make("li", "day", line.dataset.dayLabel);
    mark.dataset.day = line.dataset.day;
    return mark;
  }

  function show(item) {
    const line = element(item.html);
    const there = find("m" + item.id);
    if (there) { // told again after a pause; what has not changed must not be read out twice
      if (there.outerHTML !== line.outerHTML) there.replaceWith(line);
      return;
    }
    const wasNewest = atNewest();
    const mine = line.dataset.author === "resident";
    const pending = mine && pendingOf(item.key);
    if (pending) pending.remove();
    if (mine) forgetWaiting(item.key);
    const empty = find("empty");
    if (empty) empty.remove();
    place(line);
    if (!mine) {
      setTyping(false);
      if (!wasNewest || document.hidden) unread += 1;
    }
    if (wasNewest) toNew(line);
    countUnread();
  }

  let typingTimer = 0;
  function setTyping(on, milliseconds) {
    clearTimeout(typingTimer);
    typing.hidden = !on;
    if (on) {
      if (atNewest()) toNewest();
      if (milliseconds) typingTimer = setTimeout(() => setTyping(false), milliseconds);
    }
  }

  function setOwner(text) {
    owned = Boolean(text);
    const banner = find("owner");
    banner.hidden = !owned;
    if (banner.textContent !== text) banner.textContent = text;
  }

  // -- earlier lines -------------------------------------------------------------------------------------------------

  const earlier = find("earlier");
  if (earlier && !older) {
    earlier.addEventListener("click", async (event) => {
      event.preventDefault();
      const first = lines.querySelector("li[data-id]");
      const answer = await fetch("/chat/history?before=" + first.dataset.id).catch(() => null);
      if (!answer || !answer.ok) { tell(say.offline); return; }
      const history = await answer.json();
      lines.setAttribute("aria-live", "off"); // old lines are no news
      lines.querySelectorAll("li.day").forEach((mark) => mark.remove());
      lines.prepend(...history.lines.map((item) => element(item.html)));
      let day = "";
      lines.querySelectorAll("li[data-day]").forEach((line) => {
        if (line.dataset.day !== day) { line.before(dayMark(line)); day = line.dataset.day; }
      });
      setTimeout(() => lines.setAttribute("aria-live", "polite"), 1000);
      if (!history.earlier) earlier.parentElement.remove();
    });
  }

  // -- what is being sent --------------------------------------------------------------------------------------------

  function readWaiting() {
    try { return JSON.parse(localStorage.getItem(WAITING)) || []; } catch (error) { return []; }
  }
  function writeWaiting(items) {
    try { localStorage.setItem(WAITING, JSON.stringify(items)); } catch (error) { /* private mode: kept in the page only */ }
  }

  let queue = readWaiting().map((item) => ({ id: item.id, text: item.text })); // pictures join it, but only in memory
  let busy = false, tries = 0, retryTimer = 0;

  function keepWaiting() {
    writeWaiting(queue.filter((item) => !item.picture && !item.forget).map((item) => ({ id: item.id, text: item.text })));
  }
  function forgetWaiting(id) {
    if (!queue.some((item) => item.id === id)) return;
    queue = queue.filter((item) => item.id !== id);
    keepWaiting();
  }

  function bubble(item) {
    const line = make("li", "line resident pending");
    line.dataset.key = item.id;
    line.append(make("span", "who quiet", say.you));
    const box = line.appendChild(make("div", "bubble"));
    if (item.picture) {
      const image = make("img");
      image.src = item.url;
      image.alt = say.preview;
      box.appendChild(make("span", "picture")).append(image);
    } else {
      box.append(make("p", "words", item.text));
    }
    line.append(make("span", "meta"));
    lines.append(line);
    const empty = find("empty");
    if (empty) empty.remove();
  }

  function setState(item, state, why) {
    const line = pendingOf(item.id);
    if (!line) return;
    const meta = line.querySelector(".meta");
    meta.replaceChildren();
    if (state === "failed") {
      const retry = make("button", "state failed", navigator.onLine ? say.failed : say.offline_state);
      retry.type = "button";
      retry.addEventListener("click", () => { tries = 0; pump(); });
      meta.append(retry);
    } else if (state === "refused") {
      meta.append(make("span", "state failed-for-good", say.refused + (why ? "：" + why : "")));
    } else {
      meta.append(make("span", "state " + state, state === "sending" ? say.sending : say.sent));
    }
  }

  function enqueue(item) {
    queue.push(item);
    keepWaiting();
    bubble(item);
    setState(item, "sending");
    toNewest();
    countUnread();
    if (!busy) { tries = 0; pump(); }
  }

  async function post(item) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), item.picture ? SEND_MS * 4 : SEND_MS);
    let body, headers = {};
    if (item.picture) {
      body = new FormData();
      body.append("id", item.id);
      body.append("picture", item.picture, "picture");
      headers = { Accept: "application/json" };
    } else {
      body = JSON.stringify({ id: item.id, text: item.text });
      headers = { "Content-Type": "application/json" };
    }
    const path = item.picture ? "/chat/pictures" : item.forget ? "/chat/forget" : "/chat/messages";
    try {
      const answer = await fetch(path, { method: "POST", body, headers, signal: stop.signal, redirect: "error" });
      const said = await answer.json().catch(() => ({}));
      return { status: answer.status, error: said.error || "", after: Number(answer.headers.get("Retry-After")) || 0 };
    } catch (error) {
      return { status: 0, error: "", after: 0 };
    } finally {
      clearTimeout(timer);
    }
  }

  async function pump() { // one at a time, in the order in which they were written
    clearTimeout(retryTimer);
    if (busy) return;
    busy = true;
    while (queue.length) {
      const item = queue[0];
      setState(item, "sending");
      const answer = await post(item);
      if (queue[0] !== item) continue; // its echo was quicker than the answer
      if (answer.status === 200) {
        tries = 0;
        forgetWaiting(item.id);
        setState(item, "sent");
        tell("");
        if (!owned && pendingOf(item.id)) setTyping(true, 30000);
        continue;
      }
      if (answer.status === 403) { location.reload(); break; } // deleted or signed out: the server knows what to show
      if (answer.status === 400 || answer.status === 413 || answer.status === 415 || answer.status === 422) {
        queue.shift();
        keepWaiting();
        if (item.text && !item.forget && !input.value) { // back to where it can be mended
          pendingOf(item.id).remove();
          input.value = item.text;
          grow();
        } else {
          setState(item, "refused", answer.error);
        }
        tell(answer.error);
        continue;
      }
      setState(item, "failed");
      if (answer.error) tell(answer.error);
      const pause = answer.after ? answer.after * 1000 : RETRY_MS[Math.min(tries, RETRY_MS.length - 1)];
      tries += 1;
      retryTimer = setTimeout(pump, pause);
      break;
    }
    busy = false;
  }

  function tell(text, plain) {
    note.textContent = text;
    note.className = plain ? "note plain" : "note";
    note.hidden = !text;
  }

  // -- writing -------------------------------------------------------------------------------------------------------

  function grow() {
    input.style.height = "auto";
    input.style.height = input.scrollHeight + 2 + "px";
    const left = most - input.value.length;
    if (left < 200) tell(say.left.replace("{n}", left), true);
    else if (note.classList.contains("plain")) tell("");
  }

  function send(text) {
    if (!text.trim()) { input.focus(); return false; }
    if (older) return true;
    enqueue({ id: fresh(), text });
    return true;
  }

  input.addEventListener("input", grow);
  const atDesk = matchMedia("(hover: hover) and (pointer: fine)");
  input.addEventListener("keydown", (event) => {
    // Enter that ends the choice of a Chinese word is not "send".
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229 || !atDesk.matches) return;
    event.preventDefault();
    composer.requestSubmit();
  });

  composer.addEventListener("submit", (event) => {
    if (older) return; // the page reloads at the newest
    event.preventDefault();
    const button = event.submitter;
    find("menu").open = false;
    if (button && button.name === "choice") { send(button.value); input.focus({ preventScroll: true }); return; }
    if (button && button.name === "forget") { enqueue({ id: fresh(), text: button.textContent.trim(), forget: true }); return; }
    if (send(input.value)) { input.value = ""; grow(); input.focus({ preventScroll: true }); }
  });

  document.addEventListener("click", (event) => {
    const menu = find("menu");
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = find("menu");
    if (event.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  // -- large type ----------------------------------------------------------------------------------------------------

  const size = find("size");
  size.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const large = document.documentElement.classList.toggle("large");
    size.setAttribute("aria-pressed", String(large));
    document.cookie = "chat_size=" + (large ? "large" : "normal") + "; path=/chat; max-age=31536000; samesite=lax" +
      (location.protocol === "https:" ? "; secure" : "");
    size.value = large ? "normal" : "large";
    grow();
    toNewest();
  });

  // -- pictures ------------------------------------------------------------------------------------------------------

  const chosen = find("picture");
  chosen.addEventListener("change", async () => {
    const file = chosen.files[0];
    chosen.value = "";
    if (!file) return;
    tell("");
    const picture = await shrink(file).catch(() => null);
    if (!picture) { tell(say.bad_picture); return; }
    ask(picture);
  });

  // Telephones make 3 to 8 MB. Drawing the picture anew also leaves behind where and with what it was taken.
  async function shrink(file) {
    const image = await decode(file);
    if (file.type === "image/gif" && file.size <= PICTURE_BYTES) return file;
    const width = image.naturalWidth, height = image.naturalHeight;
    let scale = Math.min(1, Math.sqrt(PICTURE_PIXELS / (width * height)));
    for (let quality = 0.88; quality > 0.3; quality -= 0.12) {
      const canvas = make("canvas");
      canvas.width = Math.max(1, Math.round(width * scale));
      canvas.height = Math.max(1, Math.round(height * scale));
      const pen = canvas.getContext("2d");
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
      if (blob && blob.size <= PICTURE_BYTES) return blob;
      scale *= 0.85;
    }
    return null;
  }

  function decode(file) {
    return new Promise((done, fail) => {
      const image = new Image(), url = URL.createObjectURL(file);
      image.onload = () => { URL.revokeObjectURL(url); done(image); };
      image.onerror = () => { URL.revokeObjectURL(url); fail(new Error("not a picture")); };
      image.src = url;
    });
  }

  function ask(picture) {
    const url = URL.createObjectURL(picture);
    const image = make("img");
    image.src = url;
    image.alt = say.preview;
    const go = make("button", "main", say.send_picture), stop = make("button", "", say.cancel);
    go.type = stop.type = "button";
    const buttons = make("div", "buttons");
    buttons.append(go, stop);
    preview.replaceChildren(image, buttons);
    preview.hidden = false;
    go.focus();
    const end = () => { preview.hidden = true; preview.replaceChildren(); input.focus({ preventScroll: true }); };
    go.addEventListener("click", () => { end(); enqueue({ id: fresh(), picture, url }); });
    stop.addEventListener("click", () => { end(); URL.revokeObjectURL(url); });
  }

  // -- live ----------------------------------------------------------------------------------------------------------

  let source = null, reconnectTimer = 0, offlineTimer = 0;

  function setOffline(on) {
    const banner = find("offline");
    if (!on) { clearTimeout(offlineTimer); offlineTimer = 0; banner.hidden = true; return; }
    if (offlineTimer && navigator.onLine) return; // already counting since the first error
    clearTimeout(offlineTimer);
    offlineTimer = setTimeout(() => { banner.textContent = say.offline; banner.hidden = false; }, navigator.onLine ? 3000 : 0);
  }

  function connect() {
    if (older || (source && source.readyState !== EventSource.CLOSED)) return;
    clearTimeout(reconnectTimer);
    source = new EventSource("/chat/live?after=" + newestId());
    source.addEventListener("open", () => { setOffline(!navigator.onLine); tries = 0; pump(); });
    source.addEventListener("line", (event) => show(JSON.parse(event.data)));
    source.addEventListener("typing", () => setTyping(true, TYPING_MS));
    source.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      setOwner(state.owner);
      if (!owned) setTyping(state.waiting, 30000);
    });
    source.addEventListener("forgotten", () => {
      source.close();
      writeWaiting([]);
      location.replace("/chat");
    });
    source.addEventListener("elsewhere", () => source.close()); // open in too many windows; back when looked at
    source.addEventListener("error", () => {
      setOffline(true);
      if (source.readyState === EventSource.CLOSED) reconnectTimer = setTimeout(comeBack, 5000);
    });
  }

  async function comeBack() { // the server refused the stream: busy, or we are no longer who we were
    const answer = await fetch("/chat/history?after=" + newestId()).catch(() => null);
    if (answer && answer.status === 403) location.reload();
    else connect();
  }

  window.addEventListener("online", () => { setOffline(false); connect(); tries = 0; pump(); });
  window.addEventListener("offline", () => { setOffline(true); queue.forEach((item) => setState(item, "failed")); });
  window.addEventListener("pageshow", connect);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { connect(); countUnread(); } });

  queue.forEach((item) => { bubble(item); setState(item, "sending"); });
  grow();
  toNew(queue.length ? null : lines.lastElementChild);
  countUnread();
  connect();
  pump();
})();
