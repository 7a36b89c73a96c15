// Live updates, the alarm, and small comforts; every page can be read without this file.
(() => {
  "use strict";
  const body = document.body;
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // --- what moved -------------------------------------------------------------------------------------------------
  // An element says what it waits for: data-live-on="ticket" (any) or "ticket:7 conversation:12"; data-live-what narrows
  // it to some words; data-live-unless-typing="#ticket" leaves it alone while somebody writes in there.

  const isTyping = (root) => all("textarea, input[name=money], input[name=why]", root).some((field) => !field.readOnly && field.value.trim());

  const isWrittenIn = (element) => {
    const desk = element.dataset.liveUnlessTyping;
    return Boolean(desk) && isTyping(find(desk));
  };

  const wants = (element, kind, change) => {
    if (kind === "reload") return true;
    const names = element.dataset.liveOn.split(" ");
    if (!names.includes(kind) && !names.includes(`${kind}:${change.id}`)) return false;
    if (element.dataset.liveWhat && !element.dataset.liveWhat.split(" ").includes(change.what)) return false;
    return true;
  };

  const refresh = (kind, change) => {
    for (const element of all("[data-live-on]")) {
      if (wants(element, kind, change) && !isWrittenIn(element)) htmx.trigger(element, "live");
    }
  };

  // What happened between the making of the page and its stream; the forms on it are a moment old and stay.
  const catchUp = () => {
    for (const element of all("[data-live-on]:not([data-live-unless-typing])")) htmx.trigger(element, "live");
  };

  // So too between the making of a page that was put in place of this one and its arrival: the stream went on meanwhile.
  document.addEventListener("htmx:afterSettle", (event) => { if (event.detail.boosted) catchUp(); });

  const say = (words, link) => {
    const place = find("#offline");
    if (!place) return;
    place.hidden = !words;
    place.textContent = words || "";
    if (words && link) {
      const anchor = document.createElement("a");
      anchor.href = link;
      anchor.target = "_blank";
      anchor.textContent = "重新登录";
      place.append(" ", anchor);
    }
  };

  // Why a request failed stands until one of its kind is answered; what the stream says of itself, until it opens.
  let complaint = { verb: "", words: "" };

  const complain = (event, words, link) => {
    complaint = { verb: event.detail.requestConfig.verb, words };
    say(words, link);
  };

  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const place = find("#offline");
    const isOver = event.detail.requestConfig.verb === complaint.verb;
    if (place && isOver && place.textContent.startsWith(complaint.words)) say("");
  });

  let source = null;
  let missed = false; // changes may have passed while we were not connected
  let isNew = true;

  const connect = () => {
    if (source || !body.dataset.live) return;
    source = new EventSource(body.dataset.live);
    source.onopen = () => {
      say("");
      if (missed) refresh("reload", {});
      else if (isNew) catchUp();
      missed = isNew = false;
    };
    source.onerror = () => {
      missed = true;
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        say("与服务器的连接已断开，本页不再自动更新。", "/console/login");
      } else {
        say("网络不稳定，正在重新连接…");
      }
    };
    for (const kind of ["ticket", "conversation", "broadcast", "reload"]) {
      source.addEventListener(kind, (event) => {
        const change = JSON.parse(event.data);
        if (change.what === "typing") return;
        refresh(kind, change);
        if (kind === "ticket" && (change.what === "urgent" || (change.what === "call" && change.mine))) alarm(true);
        else if (kind === "ticket" && (change.mine || change.what === "unanswered")) alarm(false);
      });
    }
    source.addEventListener("ended", () => {
      disconnect();
      say("登录已过期，本页不再更新，也不再提示新的求助。", "/console/login");
      beep(false);
    });
  };

  const disconnect = () => {
    if (source) source.close();
    source = null;
  };

  // A ticket in the background neither counts as looked at nor holds one of the browser's six connections.
  document.addEventListener("visibilitychange", () => {
    if (!body.dataset.live || !body.dataset.live.includes("?")) return;
    if (document.hidden) {
      disconnect();
      missed = true;
    } else {
      connect();
    }
  });
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", (event) => { if (event.persisted) { missed = true; release(); connect(); } });

  // --- the alarm ----------------------------------------------------------------------------------------------------

  const title = document.title;
  let unseen = 0;

  const badge = () => {
    const calls = all("#alarm [data-urgent]");
    for (const call of calls) call.hidden = call.pathname === location.pathname; // it is on the screen already
    const urgent = calls.length;
    const count = Math.max(urgent, unseen);
    document.title = count ? `(${count}) ${urgent ? "紧急 · " : ""}${title}` : title;
  };

  const alarm = (urgent) => {
    if (document.hidden) unseen += 1;
    beep(urgent);
    badge();
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { unseen = 0; badge(); }
  });

  const button = find("#sound");
  const wanted = () => localStorage.getItem("console-sound") !== "off";
  let audio = null;

  const wake = () => {
    if (!wanted() || !window.AudioContext) return;
    audio = audio || new AudioContext();
    audio.onstatechange = show;
    if (audio.state === "suspended") audio.resume().catch(() => {});
    show();
  };

  const show = () => {
    if (!button) return;
    const on = wanted() && audio !== null && audio.state === "running";
    button.hidden = false;
    button.setAttribute("aria-pressed", String(on));
    find("span", button).textContent = on ? "提示音开" : "打开提示音";
  };

  const tone = (at, hertz, seconds, loudness) => {
    const wave = audio.createOscillator();
    const volume = audio.createGain();
    wave.frequency.value = hertz;
    volume.gain.setValueAtTime(loudness, at);
    volume.gain.exponentialRampToValueAtTime(0.001, at + seconds);
    wave.connect(volume).connect(audio.destination);
    wave.start(at);
    wave.stop(at + seconds);
  };

  const beep = (urgent) => {
    if (!audio || audio.state !== "running" || !wanted()) return;
    const now = audio.currentTime;
    if (urgent) [0, 0.25, 0.5, 1, 1.25, 1.5].forEach((after) => tone(now + after, after % 0.5 ? 660 : 880, 0.22, 0.5));
    else tone(now, 520, 0.4, 0.2);
  };

  if (button) {
    show();
    wake(); // a page that follows one somebody touched may sound at once; where the browser refuses, the next tap does it
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      const on = button.getAttribute("aria-pressed") === "true";
      localStorage.setItem("console-sound", on ? "off" : "on");
      if (on) show();
      else { wake(); setTimeout(() => { show(); beep(false); }, 100); }
    });
    document.addEventListener("click", wake); // browsers allow sound only after a tap; the button's own stays with it
  }

  const release = () => {
    for (const button of all("button[data-pressed]")) {
      button.disabled = false;
      delete button.dataset.pressed;
    }
  };

  // --- parts of a page that came anew -----------------------------------------------------------------------------

  let open = [];
  let atEnd = true;

  const nearEnd = () => window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 160;
  const toEnd = () => {
    const reply = find("#reply");
    if (reply && window.matchMedia("(min-width: 900px)").matches) window.scrollTo(0, document.documentElement.scrollHeight);
    else if (reply) {
      const last = find("#timeline > li:last-child");
      if (last) last.scrollIntoView({ block: "center" });
    }
  };

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, requestConfig, target } = event.detail;
    open = all("details[id][open]").map((details) => details.id);
    atEnd = nearEnd();
    const select = requestConfig && requestConfig.verb === "post" && target.id ? `#${target.id}` : null;
    if (xhr.status < 400) return;
    const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
    if (select && find(select, page)) return; // the same page with the reason on it
    event.detail.shouldSwap = false;
    const reason = find("#problem", page);
    complain(event, reason ? reason.textContent : "没有完成，请刷新页面后再试。", xhr.status === 401 ? "/console/login" : "");
    release();
  });

  // The ticket went to somebody else while its owner was writing: his words stay, with the reason they cannot leave.
  const warnOfLoss = () => {
    const warning = find("#lost p");
    if (!warning) return;
    warning.hidden = !find("#reply [data-send]");
    if (!warning.hidden) find("#flash").replaceChildren();
  };

  document.addEventListener("htmx:afterSettle", (event) => {
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    if (event.detail.target && event.detail.target.id === "ticket") toEnd();
    else if (find("#timeline") && atEnd) toEnd();
    badge();
    warnOfLoss();
  });

  // A form on its way: what became of the one before no longer stands over the box.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const flash = find("#flash");
    if (event.detail.boosted && flash) flash.replaceChildren();
  });

  const failed = (event) => {
    complain(event, "网络不通，刚才的内容还在页面上，请稍后重试。");
    release();
  };
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:timeout", failed);
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) complain(event, "系统出了点问题，刚才的内容还在页面上，请稍后重试。");
    release();
  });

  // --- small comforts ---------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const asks = event.target.closest("[data-confirm]");
    if (asks && !window.confirm(asks.dataset.confirm)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    const canned = event.target.closest("[data-insert]");
    if (canned) {
      const field = find("textarea[data-send]");
      field.value = field.value.trim() ? `${field.value.trimEnd()}\n${canned.dataset.insert}` : canned.dataset.insert;
      canned.closest("details").open = false;
      field.focus();
    }
    for (const menu of all("details.rest[open]")) if (!menu.contains(event.target)) menu.open = false;
  }, true);

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea[data-send]")) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });

  const TYPING_MS = 4000; // the resident's page shows it for six seconds
  let typed = 0;
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.matches("[data-typing]") || !field.value.trim() || Date.now() - typed < TYPING_MS) return;
    typed = Date.now();
    fetch(field.dataset.typing, { method: "POST", body: new URLSearchParams({ csrf: find("[name=csrf]", field.form).value }) }).catch(() => {});
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches(".file input")) return;
    const file = event.target.files[0];
    const label = find("span", event.target.closest(".file"));
    const empty = (label.dataset.empty ??= label.textContent);
    label.textContent = file ? file.name : empty;
    if (file && file.size > 2 * 1024 * 1024) {
      event.target.value = "";
      label.textContent = empty;
      say("图片不能超过 2 MB，请压缩后再发。");
    }
  });

  document.addEventListener("submit", (event) => { // one press is enough
    if (event.defaultPrevented && !event.target.matches("[hx-boost]")) return;
    for (const button of all("button:not([type=button])", event.target)) {
      setTimeout(() => { button.disabled = true; button.dataset.pressed = ""; }, 0); // after the browser read the form
    }
    setTimeout(release, 4000); // a file that was sent for leaves the page as it is
  });

  const url = new URL(location.href); // a sentence is shown once
  if (url.searchParams.has("done")) {
    url.searchParams.delete("done");
    history.replaceState(null, "", url);
  }
  if (find("#ticket") && !url.searchParams.has("before") && !location.hash) toEnd();
  window.addEventListener("load", connect);
})();
