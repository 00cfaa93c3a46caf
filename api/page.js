// The status page, live. All that is shown is made by the node: this only puts it in place, in the reader's own time zone, and says
// so when the node does not answer any more. Without it the page renews itself.
"use strict";
(() => {
  const silence = 4000; // ms without an event after which the node is asked directly; events come every 3 s at least
  const patience = 2500; // ms that it may take to answer
  const live = document.getElementById("live");
  const gone = document.getElementById("gone");
  const pace = document.getElementById("pace");
  const icon = document.querySelector("link[rel=icon]");
  const page = new DOMParser();
  let heard = performance.now(); // when the node was last heard of
  let heardAt = new Date();
  let lostAt = null; // since when it does not answer
  let stopping = false; // it has said that it stops
  let asking = false;
  let source = null;

  const clock = new Intl.DateTimeFormat([], {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short"});
  const calendar = new Intl.DateTimeFormat("sv-SE", {year: "numeric", month: "2-digit", day: "2-digit"}); // 2026-01-31

  // local is a time in the reader's zone, with UTC beside it.
  function local(iso) {
    const t = new Date(iso);
    const utc = iso.slice(11, 19) + " UTC";
    const own = clock.format(t);
    const day = calendar.format(t) === calendar.format(new Date()) ? "" : calendar.format(t) + " ";
    return t.getTimezoneOffset() === 0 ? day + utc : day + own + " (" + utc + ")";
  }

  function localise(root) {
    for (const t of root.querySelectorAll("time[datetime]")) {
      if (t.classList.contains("age")) t.title = local(t.dateTime);
      else t.textContent = local(t.dateTime);
    }
  }

  // become makes old like next and leaves alone what is the same: what is focused, unfolded or being read stays so.
  function become(old, next) {
    for (const a of [...old.attributes]) {
      if (!next.hasAttribute(a.name) && a.name !== "open") old.removeAttribute(a.name);
    }
    for (const a of next.attributes) {
      if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    }
    let at = old.firstChild;
    for (const want of [...next.childNodes]) {
      const have = match(at, want);
      if (!have) {
        old.insertBefore(document.importNode(want, true), at);
        continue;
      }
      while (at !== have) at = drop(at);
      if (have.nodeType === Node.ELEMENT_NODE) become(have, want);
      else if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      at = have.nextSibling;
    }
    while (at) at = drop(at);
  }

  function drop(node) {
    const after = node.nextSibling;
    node.remove();
    return after;
  }

  // match is the first from at on that can become want: of its kind and, where things have names, the very one.
  function match(at, want) {
    const keyed = want.nodeType === Node.ELEMENT_NODE && (want.dataset.key || want.getAttribute("aria-labelledby"));
    for (let n = at; n; n = n.nextSibling) {
      if (n.nodeName !== want.nodeName) {
        if (keyed) continue;
        return null;
      }
      const key = n.nodeType === Node.ELEMENT_NODE && (n.dataset.key || n.getAttribute("aria-labelledby"));
      if ((key || "") === (keyed || "")) return n;
      if (!keyed) return null;
    }
    return null;
  }

  // show puts what the node has sent in place.
  function show(html) {
    const next = page.parseFromString(html, "text/html").getElementById("live");
    if (!next) return;
    heard = performance.now();
    heardAt = new Date();
    localise(next);
    become(live, next);
    document.title = live.dataset.title;
    if (icon.getAttribute("href") !== live.dataset.icon) icon.href = live.dataset.icon;
    found();
  }

  function found() {
    stopping = false;
    if (lostAt === null) return;
    lostAt = null;
    gone.hidden = true;
    live.classList.remove("stale");
  }

  // lost says that what is shown is not true any more.
  function lost() {
    if (lostAt === null) {
      lostAt = heardAt;
      live.classList.add("stale");
      gone.hidden = false;
      document.title = "Gone: " + document.title;
    }
    const seconds = Math.round((Date.now() - lostAt) / 1000);
    const node = live.dataset.node;
    const text = node + (stopping ? " was stopped" : " does not answer") + "; last heard of at " + local(lostAt.toISOString().slice(0, 19) + "Z") + ".";
    const place = document.getElementById("gone-text");
    if (place.textContent !== text) place.textContent = text;
    pace.textContent = "Trying again every few seconds, for " + seconds + " s so far.";
  }

  // ask reads the page as a whole: is the node gone, or only its stream?
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch("/", {cache: "no-store", signal: AbortSignal.timeout(patience)});
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.text());
      pace.textContent = "Renewed every few seconds.";
    } catch {
      lost();
    } finally {
      asking = false;
    }
  }

  function listen() {
    source = new EventSource("/api/v1/events?as=page");
    source.addEventListener("page", e => {
      show(e.data);
      pace.textContent = "Live: changes show within a second.";
    });
    source.addEventListener("stopping", () => { stopping = true; });
    source.addEventListener("error", ask);
  }

  setInterval(() => {
    if (source.readyState === EventSource.CLOSED) listen(); // refused, such as with too many listeners
    if (performance.now() - heard > silence) ask();
  }, 1000);
  // A page that was put to sleep, such as on a telephone, is told at once what is so now.
  document.addEventListener("visibilitychange", () => { if (!document.hidden && performance.now() - heard > patience) ask(); });
  localise(document);
  listen();
})();
