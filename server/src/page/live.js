// Keeps the overview current. The server renders the parts; what is here only exchanges what differs, so that focus,
// selection and opened details stay. Without script the page is whole, as of when it was loaded.
"use strict";
(() => {
  const overview = document.querySelector("[data-live]");
  const state = document.getElementById("feed-state");
  const pause = document.getElementById("feed-pause");
  if (!overview || !state || !pause || !window.EventSource) return;

  const exchange = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    exchangeChildren(old, fresh);
  };

  // Children with an id keep their node; a new one at the top moves nothing.
  const exchangeChildren = (old, fresh) => {
    const kept = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id && kept.get(child.id);
      if (same) {
        if (same === at) at = at.nextSibling;
        else old.insertBefore(same, at);
        exchange(same, child);
      } else if (at && !at.id && !child.id) {
        const next = at.nextSibling;
        exchange(at, child);
        at = next;
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  let source, timer, paused = false;

  const say = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = kind;
  };

  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = undefined;
  };

  const connect = () => {
    close();
    source = new EventSource(overview.dataset.live);
    source.addEventListener("change", (event) => {
      say("live", "up");
      for (const [id, html] of Object.entries(JSON.parse(event.data).parts)) {
        const part = document.getElementById(id);
        const fresh = document.createElement("template");
        fresh.innerHTML = html;
        if (part) exchangeChildren(part, fresh.content);
      }
    });
    source.addEventListener("error", () => {
      say("reconnecting", "retry_later");
      // A browser tries again by itself, unless the answer was an error.
      if (source && source.readyState === EventSource.CLOSED) timer = setTimeout(connect, 3000);
    });
  };

  const follow = () => (paused || document.hidden ? close() : connect());

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    if (paused) say("paused", "");
    follow();
  });
  document.addEventListener("visibilitychange", follow);
  follow();
})();
